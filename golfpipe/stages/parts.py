"""Parts of an evaluation: machines that share only a disk each score one, and a merge puts them together.

A part holds the nats of its targets as they are, so the merged evaluation is the one that a single machine would have
written, digest included.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from golfpipe.errors import ArtifactError
from golfpipe.jobs.shard import Shard
from golfpipe.store.artifact import Artifact
from golfpipe.store.artifact_writer import ArtifactWriter
from golfpipe.store.manifest import Result

PART = "part.safetensors"


def write_part(out: ArtifactWriter, model: Artifact, nats: np.ndarray, shard: Shard, eval_seconds: float) -> Result:
    """Write the part of `nats` that this shard scored: float32, NaN where other shards score.

    part.safetensors holds `nats` of the scored targets in order, and `scored`, one bit per target of the whole split,
    the first target in the highest bit of the first byte.
    """
    scored = ~np.isnan(nats)
    tensors = {"nats": torch.from_numpy(nats[scored]), "scored": torch.from_numpy(np.packbits(scored))}
    out.write_tensors(PART, tensors)
    return Result(
        kind="partial_evaluation",
        metrics={
            "shard": shard.index,
            "num_shards": shard.count,
            "scored_targets": int(scored.sum()),
            "all_targets": len(nats),
            "eval_seconds": round(eval_seconds, 3),
        },
        model=model.manifest.model,
    )


def merged_seconds(parts: Sequence[Artifact]) -> float:
    """Return the seconds that scoring all parts took. Raises ArtifactError."""
    total = 0.0
    for part in parts:
        seconds = part.manifest.metrics.get("eval_seconds")
        if isinstance(seconds, bool) or not isinstance(seconds, int | float) or seconds < 0:
            raise ArtifactError(f"{part.path}: metric eval_seconds is {seconds!r}, no time", path=str(part.path))
        total += seconds
    return total


def merged_nats(parts: Sequence[Artifact], num_targets: int) -> np.ndarray:
    """Return the nats of every target, float32. Raises ArtifactError for parts that do not make up a whole."""
    nats = np.full(num_targets, np.nan, dtype=np.float32)
    for part in parts:
        tensors = part.read_tensors(PART)
        bits, values = tensors.get("scored"), tensors.get("nats")
        if bits is None or values is None or bits.dtype != torch.uint8 or bits.shape != (-(-num_targets // 8),):
            raise ArtifactError(f"{part.path / PART}: not a part of {num_targets} targets", path=str(part.path))
        scored = np.unpackbits(bits.numpy(), count=num_targets).astype(np.bool_)
        if values.dtype != torch.float32 or values.shape != (int(scored.sum()),) or not values.isfinite().all():
            raise ArtifactError(f"{part.path / PART}: not one finite score for each target", path=str(part.path))
        if not np.isnan(nats[scored]).all():
            raise ArtifactError(
                f"{part.path}: scored targets that another part has too",
                hint="score all parts with the same evaluate.batch_tokens, whose default is the device's",
                path=str(part.path),
            )
        nats[scored] = values.numpy()
    missing = int(np.isnan(nats).sum())
    if missing:
        raise ArtifactError(
            f"{missing} of {num_targets} targets are in no part",
            hint="score all parts with the same evaluate.batch_tokens, whose default is the device's",
        )
    return nats
