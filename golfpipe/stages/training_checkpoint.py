"""The checkpoint from which an interrupted training goes on: one sealed file in the unfinished folder."""

from __future__ import annotations

from typing import Any

import torch

from golfpipe.errors import ArtifactError, StageFailed
from golfpipe.stages.training_log import cut_logs_back
from golfpipe.store.arrays import metadata_from_bytes
from golfpipe.store.artifact_writer import ArtifactWriter
from golfpipe.store.files import write_file
from golfpipe.store.tensors import seal, tensors_from_bytes, tensors_to_bytes
from golfpipe.training.guarded import GuardedTrainer

CHECKPOINT = "checkpoint.safetensors"
_HINT = "--force starts afresh"


def save_checkpoint(out: ArtifactWriter, trainer: GuardedTrainer, log_values: dict[str, Any]) -> None:
    """Write the trainer's state and what the logs held at this moment, in place of the checkpoint before.

    Raises StageFailed where the state is not finite; the checkpoint before then stays.
    """
    tensors = {name: tensor.contiguous() for name, tensor in trainer.state_tensors().items()}
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise StageFailed(
                f"training diverged: {name} is not finite after step {trainer.steps_done}",
                hint="the last good checkpoint is kept; lower the learning rates and start with --force",
            )
    values = trainer.state_values() | log_values
    content = tensors_to_bytes(tensors, values | {"sha256": seal(tensors, values)})
    write_file(out.scratch(CHECKPOINT), content)


def load_checkpoint(out: ArtifactWriter, trainer: GuardedTrainer) -> dict[str, Any] | None:
    """Load the checkpoint, where there is one, cut the logs beside it back to its moment, and return its values.

    The first process reads the file for all. Raises ArtifactError for a damaged one, and for one of another run.
    """
    reads, path = trainer.processes.rank == 0, out.scratch(CHECKPOINT)
    content = trainer.processes.first(path.read_bytes() if reads and path.is_file() else None)
    if content is None:  # not so for an empty file, which is a damaged one
        return None
    tensors, values = tensors_from_bytes(content, str(path)), metadata_from_bytes(content, str(path))
    if values.pop("sha256", None) != seal(tensors, values):
        raise ArtifactError(f"{path}: sha256 differs from the one inside: the file was altered", hint=_HINT)
    try:
        trainer.load_state(tensors, values)
    except (KeyError, RuntimeError, TypeError, ValueError, AttributeError) as error:
        raise ArtifactError(f"{path}: not a checkpoint of this run ({error})", hint=_HINT) from error
    if reads:
        cut_logs_back(out, values, _HINT)
    return values
