"""The numbers of each seed in the records folder, copied from manifests."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from golfpipe.errors import ArtifactError
from golfpipe.loading.lineage import Lineage
from golfpipe.loading.siblings import after_adaptation, after_quantization, before_quantization
from golfpipe.store.metric_values import count, needed_number, number
from golfpipe.submission.facts import RunFacts


@dataclass(frozen=True, kw_only=True)
class SeedResult:
    """The results of one seed. None means not measured, or not recorded."""

    seed: int
    val_loss_nats: float
    """The loss in nats per token."""
    val_bpb: float
    parameters: int | None
    steps: int | None
    step_avg_ms: float | None
    train_seconds: float | None
    calibration_seconds: float
    """The seconds of calibration, which count as training and are not in train_seconds; 0 without calibration."""
    eval_seconds: float | None
    """The seconds of evaluation, test-time training included."""
    before_quantization_bpb: float | None
    after_quantization_bpb: float | None
    after_adaptation_bpb: float | None
    adapted: bool
    """True if the score is one after test-time training."""
    model_bytes: int
    code_bytes: int

    @property
    def artifact_bytes(self) -> int:
        """The bytes that count against the limit: weights and code."""
        return self.model_bytes + self.code_bytes


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Mean and sample standard deviation; one value has no deviation."""

    mean: float
    deviation: float | None


def seed_result(lineage: Lineage, facts: RunFacts) -> SeedResult:
    """Return the row of one chain, which must lead from an evaluation to a packed and a trained model.

    Raises ArtifactError naming the metric that the evaluation or the packed model lacks.
    """
    assert lineage.evaluation is not None and lineage.trained is not None
    scores, training = lineage.evaluation.manifest.metrics, lineage.trained.manifest.metrics
    if facts.seed is None or facts.packed_bytes is None or facts.code_bytes is None:
        raise ArtifactError(f"{lineage.evaluation.path}: seed, packed_bytes or code_bytes of its models is not known")
    return SeedResult(
        seed=facts.seed,
        val_loss_nats=needed_number(scores, "val_loss_nats", lineage.evaluation.path),
        val_bpb=needed_number(scores, "val_bpb", lineage.evaluation.path),
        parameters=count(training, "parameters"),
        steps=count(training, "steps"),
        step_avg_ms=number(training, "step_avg_ms"),
        train_seconds=number(training, "train_seconds"),
        calibration_seconds=facts.calibration_seconds,
        eval_seconds=facts.whole_eval_seconds,
        before_quantization_bpb=before_quantization(lineage),
        after_quantization_bpb=after_quantization(lineage),
        after_adaptation_bpb=after_adaptation(lineage),
        adapted=after_adaptation(lineage) is not None,
        model_bytes=facts.packed_bytes,
        code_bytes=facts.code_bytes,
    )


def spread(values: Sequence[float]) -> Spread:
    """Return the spread of the values. Raises statistics.StatisticsError if there are none."""
    deviation = statistics.stdev(values) if len(values) > 1 else None
    return Spread(mean=statistics.fmean(values), deviation=deviation)


def largest(results: Sequence[SeedResult]) -> SeedResult:
    """Return the seed whose bytes count, which is the largest: the limit holds for every one."""
    return max(results, key=lambda result: result.artifact_bytes)
