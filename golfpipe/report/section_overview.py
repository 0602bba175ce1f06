"""The head of the page: the score, the bytes against the limit, the size of the model, the time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from golfpipe.config.schema import PipelineConfig, build_config
from golfpipe.errors import ConfigError
from golfpipe.loading.lineage import effective_config, trace
from golfpipe.report.run_data import RunData
from golfpipe.store.artifact import Artifact
from golfpipe.store.metric_values import count, number, text
from golfpipe.submission.technique import one_line
from golfpipe.units import LIMIT_BYTES

FORM_NAMES = {
    "weights": "imported weights",
    "trained_model": "trained weights",
    "quantized_model": "quantized",
    "packed_model": "packed file",
    "adapted_model": "after test-time training",
}
MOST_DETAILED = 12
"""Runs that get pictures and tables of their own at most. Every run has a row among the scores."""


class Sizes(NamedTuple):
    """Bytes of the packed model and of the code, and what they may be together."""

    model: int
    code: int
    total: int
    limit: int
    code_source: str


@dataclass(frozen=True, kw_only=True)
class Overview:
    """The few numbers of a run that people look for first; None stands for what is not known."""

    name: str
    summary: str
    """The configuration in one line."""
    is_evaluated: bool
    """Without an evaluation the score is that of validation during training."""
    form: str
    """What was scored, in words."""
    val_bpb: float | None
    val_loss_nats: float | None
    is_partial: bool
    is_eligible: bool
    is_packed: bool
    sizes: Sizes | None
    total_bytes: int | None
    parameters: int | None
    train_seconds: float | None
    steps: int | None
    tokens: int | None


def best_first(runs: Sequence[RunData]) -> list[RunData]:
    """Return as many runs as get details in the order given, and more of them with the best score first."""
    if len(runs) <= MOST_DETAILED:
        return list(runs)
    scores = [number(run.headline.manifest.metrics, "val_bpb") if run.headline is not None else None for run in runs]
    order = sorted(range(len(runs)), key=lambda index: (scores[index] is None, scores[index] or 0.0))
    return [runs[index] for index in order]


def overview(run: RunData) -> Overview:
    """Return the run's head."""
    trained, packed = run.first("trained_model"), run.first("packed_model")
    training = trained.manifest.metrics if trained is not None else {}
    weights = run.first("weights")
    imported = weights.manifest.metrics if weights is not None and trained is None else {}
    packing = _packing(packed, run.first("submission"))
    scores = run.headline.manifest.metrics if run.headline is not None else training
    validated = run.headline is None and trained is not None
    config = run_config(run)
    return Overview(
        name=run.name,
        summary=_summary(run, config) if config is not None else "",
        is_evaluated=run.headline is not None,
        form="trained weights, validation during training" if validated else form_name(scores),
        val_bpb=number(scores, "val_bpb"),
        val_loss_nats=number(scores, "val_loss_nats"),
        is_partial=scores.get("whole_split") is False,
        is_eligible=scores.get("eligible") is not False,
        is_packed=packed is not None,
        sizes=_sizes(packing),
        total_bytes=count(packing, "total_bytes"),
        parameters=count(imported or training, "values" if imported else "parameters"),
        train_seconds=number(training, "train_seconds"),
        steps=count(training, "steps"),
        tokens=count(training, "tokens"),
    )


def _summary(run: RunData, config: PipelineConfig) -> str:
    """Return the configuration in one line."""
    if run.first("weights") is not None and run.first("trained_model") is None:
        return f"Weights without an architecture, {config.quantize.quantizer} codes."
    return f"{one_line(config)}."


def run_config(run: RunData) -> PipelineConfig | None:
    """The settings that produced the run, each section from the stage that used it; None where they cannot be read."""
    newest = run.headline or run.stages[-1]
    try:
        return build_config(effective_config(trace(newest)))
    except ConfigError:
        return None


def form_name(metrics: dict[str, object]) -> str:
    """What an evaluation scored, in words."""
    if metrics.get("protocol") in ("score_first", "pre_eval"):
        return FORM_NAMES["adapted_model"]
    return FORM_NAMES.get(text(metrics, "model_kind") or "", "model")


def _packing(packed: Artifact | None, submission: Artifact | None) -> dict[str, Any]:
    """Return the metrics that tell the sizes: of the submission where it has this packed model, for it counts the
    script's real bytes."""
    packing = packed.manifest.metrics if packed is not None else {}
    submitted = submission.manifest.metrics if submission is not None else {}
    is_same = bool(packing) and submitted.get("packed_bytes") == packing.get("packed_bytes")
    return submitted if is_same else packing


def _sizes(packing: dict[str, object]) -> Sizes | None:
    model, code, total = (count(packing, key) for key in ("packed_bytes", "code_bytes", "total_bytes"))
    if model is None or code is None or total is None:
        return None
    limit = count(packing, "limit_bytes") or LIMIT_BYTES
    return Sizes(model, code, total, limit, text(packing, "code_bytes_source") or "unknown")
