"""Compare two evaluations of the same text, document by document."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from golfpipe.config.resolve import changed_keys
from golfpipe.errors import ArtifactError, UsageError
from golfpipe.scoring.bootstrap import PairedDifference, paired_bootstrap
from golfpipe.stages.evaluation import DOCUMENTS
from golfpipe.store.artifact import Artifact, open_artifact

WINDOW_METRICS = ("method", "context_length", "stride")
"""Of an evaluation: the windows that it scored in."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two evaluations and what their difference is worth."""

    first: Artifact
    second: Artifact
    paired: PairedDifference

    @property
    def is_significant(self) -> bool:
        """Whether the interval leaves out 0."""
        return not self.paired.low <= 0 <= self.paired.high


def compare_evaluations(first: Path, second: Path, *, resamples: int = 10_000, seed: int = 0) -> Comparison:
    """Paired bootstrap over documents. Raises UsageError for evaluations that cannot be compared, ArtifactError."""
    left, right = open_artifact(first, "evaluation"), open_artifact(second, "evaluation")
    _check_comparable(left, right)
    a, b = _documents(left), _documents(right)
    if any(not np.array_equal(a[name], b[name]) for name in ("targets", "bytes")):
        raise ArtifactError(
            f"{right.path}: its documents differ from those of {left.path}, though the data is the same"
        )
    if len(a["bytes"]) < 2:
        raise UsageError(
            f"{left.path}: one document cannot be resampled", hint="score more of the text: evaluate.max_targets=0"
        )
    paired = paired_bootstrap(a["nats"], b["nats"], a["bytes"], resamples=resamples, seed=seed)
    return Comparison(first=left, second=right, paired=paired)


def _check_comparable(left: Artifact, right: Artifact) -> None:
    one, other = left.manifest.input("data"), right.manifest.input("data")
    if one is None or other is None or one.digest != other.digest:
        found = [ref.path if ref is not None else "no data" for ref in (one, other)]
        raise UsageError(
            f"the evaluations scored different text: {left.path} {found[0]}, {right.path} {found[1]}",
            hint="evaluate both models on the same token data",
        )
    windows = [
        {name: artifact.manifest.metrics.get(name) for name in (*WINDOW_METRICS, "scored_targets")}
        for artifact in (left, right)
    ]
    if windows[0] != windows[1]:
        raise UsageError(
            f"the evaluations scored in different windows: {'; '.join(changed_keys(*windows))}",
            hint="evaluate both with the same evaluate.method, context_length, stride and max_targets",
        )


def _documents(evaluation: Artifact) -> dict[str, np.ndarray]:
    tensors = {name: tensor.numpy() for name, tensor in evaluation.read_tensors(DOCUMENTS).items()}
    shapes = {tensor.shape for tensor in tensors.values()}
    if tensors.keys() != {"nats", "targets", "bytes"} or len(shapes) != 1 or len(next(iter(shapes))) != 1:
        raise ArtifactError(f"{evaluation.path / DOCUMENTS}: expected nats, targets and bytes of every document")
    if not np.isfinite(tensors["nats"]).all() or (tensors["bytes"] < 0).any() or tensors["bytes"].sum() == 0:
        raise ArtifactError(f"{evaluation.path / DOCUMENTS}: holds values that are no scores")
    return tensors
