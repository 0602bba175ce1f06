"""Compare two evaluations of the same text, document by document."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from golfpipe.config.resolve import changed_keys
from golfpipe.errors import ArtifactError, UsageError
from golfpipe.extras import require
from golfpipe.loading.document_scores import read_document_scores
from golfpipe.store.artifact import Artifact, open_artifact, refuse_rehearsals
from golfpipe.store.metric_values import needed_number
from golfpipe.submission.bootstrap import PairedDifference, paired_bootstrap

WINDOW_METRICS = ("method", "context_length", "stride")
"""Metrics of an evaluation that say in which windows it scored."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two evaluations and the test of their difference."""

    first: Artifact
    second: Artifact
    scores: tuple[float, float]
    """The val_bpb of both."""
    paired: PairedDifference

    @property
    def is_significant(self) -> bool:
        """True if the interval leaves out 0."""
        return not self.paired.low <= 0 <= self.paired.high


def compare_evaluations(first: Path, second: Path, *, resamples: int = 10_000, seed: int = 0) -> Comparison:
    """Paired bootstrap over documents. Raises UsageError for evaluations that cannot be compared, ArtifactError,
    and StageFailed without scipy."""
    require("scipy")
    left, right = open_artifact(first, "evaluation"), open_artifact(second, "evaluation")
    refuse_rehearsals(left, right)
    _check_comparable(left, right)
    one, other = (needed_number(artifact.manifest.metrics, "val_bpb", artifact.path) for artifact in (left, right))
    a, b = read_document_scores(left), read_document_scores(right)
    if any(not np.array_equal(a[name], b[name]) for name in ("targets", "bytes")):
        raise ArtifactError(
            f"{right.path}: its documents differ from those of {left.path}, though the data is the same"
        )
    if len(a["bytes"]) < 2:
        raise UsageError(
            f"{left.path}: one document cannot be resampled", hint="score more of the text: evaluate.max_targets=0"
        )
    paired = paired_bootstrap(a["nats"], b["nats"], a["bytes"], resamples=resamples, seed=seed)
    return Comparison(first=left, second=right, scores=(one, other), paired=paired)


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
            f"{left.path} and {right.path} scored in different windows: {'; '.join(changed_keys(*windows))}",
            hint="evaluate both with the same evaluate.method, context_length, stride and max_targets",
        )
