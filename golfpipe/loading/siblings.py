"""Evaluations near by that scored the same targets in the same windows with an earlier form of the same model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from golfpipe.config.later import without_idle
from golfpipe.jobs.registry import STAGES, without_keys
from golfpipe.loading.lineage import Lineage
from golfpipe.store.artifact import Artifact
from golfpipe.store.metric_values import mapping, number
from golfpipe.store.search import find_all


def before_quantization(lineage: Lineage) -> float | None:
    """Return the val_bpb of the trained weights; None where it was not measured."""
    return _bpb(lineage, lineage.trained)


def after_quantization(lineage: Lineage) -> float | None:
    """Return the val_bpb of the packed model without test-time training; None where it was not measured."""
    evaluation = lineage.evaluation
    if evaluation is not None and evaluation.manifest.metrics.get("protocol") == "none" and lineage.adapted is None:
        return number(evaluation.manifest.metrics, "val_bpb")
    packed = _bpb(lineage, lineage.packed)
    return packed if packed is not None else _bpb(lineage, lineage.quantized)  # both score alike to the last digit


def after_adaptation(lineage: Lineage) -> float | None:
    """Return the val_bpb after test-time training; None where the evaluation used none."""
    evaluation = lineage.evaluation
    if evaluation is None or evaluation.manifest.metrics.get("protocol") in (None, "none"):
        return None
    return number(evaluation.manifest.metrics, "val_bpb")


def _bpb(lineage: Lineage, model: Artifact | None) -> float | None:
    if lineage.evaluation is None or model is None:
        return None
    wanted = measure(lineage.evaluation)
    for candidate in _nearby_evaluations(lineage):
        manifest = candidate.manifest
        reference = manifest.input("model")
        if (
            reference is not None
            and reference.digest == model.manifest.digest
            and manifest.metrics.get("protocol") == "none"
            and measure(candidate) == wanted
        ):
            return number(manifest.metrics, "val_bpb")
    return None


def measure(evaluation: Artifact) -> tuple[Any, ...]:
    """Return what must agree for two scores to be comparable: settings, number of targets, digest of the data."""
    manifest = evaluation.manifest
    own = without_idle({"evaluate": mapping(manifest.config, "evaluate")})
    settings = without_keys(own, STAGES["evaluate"].neutral)
    data = manifest.input("data")
    return settings, manifest.metrics.get("scored_targets"), data.digest if data is not None else None


def _nearby_evaluations(lineage: Lineage) -> Iterator[Artifact]:
    for root in dict.fromkeys(member.path.resolve().parent for member in lineage.members):
        for artifact in find_all(root, depth=1):
            if artifact.manifest.kind == "evaluation":
                yield artifact
