"""What every scoring run writes, whichever stage it belongs to, and the running score that it shows."""

from __future__ import annotations

import numpy as np
import torch

from golfpipe.config.schema import PipelineConfig
from golfpipe.errors import DataError
from golfpipe.loading.document_scores import DOCUMENTS
from golfpipe.reporter import Task
from golfpipe.scoring.score import Score
from golfpipe.store.artifact import Artifact
from golfpipe.store.artifact_writer import ArtifactWriter
from golfpipe.store.manifest import Result
from golfpipe.units import bits_per_byte


class RunningScore:
    """Shows the score so far in bits per byte, with bytes by the split's mean target, behind the progress bar."""

    def __init__(self, task: Task, sizes: np.ndarray, processes: int = 1) -> None:
        """Start at nothing. `sizes` are the bytes of each target; `processes` is how many score at this pace, each on
        another part."""
        self.task, self.nats, self.targets = task, 0.0, 0
        self.processes, self.left = processes, len(sizes)
        self.bytes_per_target = float(sizes.mean())

    def add(self, count: int, nats: float) -> None:
        """Add `count` targets with `nats` in all."""
        self.nats += nats
        self.targets += count
        size = round(self.targets * self.bytes_per_target)
        done = min(count * self.processes, self.left)
        self.left -= done
        self.task.advance(done, f"bpb about {bits_per_byte(self.nats, size):.4f}" if size else "")


def write_evaluation(
    out: ArtifactWriter,
    model: Artifact,
    score: Score,
    config: PipelineConfig,
    *,
    split_targets: int,
    protocol: str,
    eval_seconds: float,
) -> Result:
    """Write the scores per document. `protocol`: none, score_first, or pre_eval, which is not eligible.

    Raises DataError where the scored targets hold no byte of text.
    """
    if score.num_bytes == 0:
        raise DataError(
            "the scored targets hold no text, so there are no bits per byte", hint="raise evaluate.max_targets"
        )
    out.write_tensors(
        DOCUMENTS,
        {
            "nats": torch.from_numpy(score.document_nats),
            "targets": torch.from_numpy(score.document_targets),
            "bytes": torch.from_numpy(score.document_bytes),
        },
    )
    windows = config.evaluate
    return Result(
        kind="evaluation",
        metrics={
            "val_loss_nats": score.val_loss_nats,
            "val_bpb": score.val_bpb,
            "scored_targets": score.num_targets,
            "scored_bytes": score.num_bytes,
            "split_targets": split_targets,
            "whole_split": score.num_targets == split_targets,
            "method": windows.method,
            "context_length": windows.context_length,
            "stride": windows.stride if windows.method == "sliding" else None,
            "protocol": protocol,
            "eligible": protocol != "pre_eval",
            "eval_seconds": round(eval_seconds, 3),
            "model_kind": model.manifest.kind,
            "model_digest": model.manifest.digest,
        },
        model=model.manifest.model,
    )
