"""The chain of artifacts behind an evaluation, followed link by link by digest."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from golfpipe.adapt.methods import METHODS
from golfpipe.config.resolve import changed_keys
from golfpipe.config.schema import Plain
from golfpipe.errors import ArtifactError
from golfpipe.jobs.registry import NEUTRAL, SETTLED, STAGES, without_keys
from golfpipe.store.artifact import Artifact
from golfpipe.store.manifest import Kind
from golfpipe.store.metric_values import mapping, text
from golfpipe.store.search import find_artifact

_SLOTS: dict[Kind, str] = {
    "evaluation": "evaluation",
    "adapted_model": "adapted",
    "packed_model": "packed",
    "quantized_model": "quantized",
    "trained_model": "trained",
    "weights": "trained",
    "token_data": "data",
}


@dataclass(frozen=True, kw_only=True)
class Lineage:
    """One chain of artifacts. A link is None where the chain has no such artifact or it was not found."""

    evaluation: Artifact | None = None
    adapted: Artifact | None = None
    packed: Artifact | None = None
    quantized: Artifact | None = None
    trained: Artifact | None = None
    """The trained model, or imported weights, of which golfpipe knows no training."""
    data: Artifact | None = None
    """The data that was scored, or else the data that was trained on."""

    @property
    def members(self) -> tuple[Artifact, ...]:
        """The artifacts of the chain without its data, the newest first."""
        links = (self.evaluation, self.adapted, self.packed, self.quantized, self.trained)
        return tuple(link for link in links if link is not None)

    @property
    def score_first(self) -> bool:
        """True if the evaluation adapted the model while it scored."""
        return self.evaluation is not None and self.evaluation.manifest.stage == "ttt"


def trace(artifact: Artifact, *, required: Collection[Kind] = ()) -> Lineage:
    """Follow the inputs of `artifact` as far as their artifacts are found.

    Raises ArtifactError naming the input where an artifact of a `required` kind is not found.
    """
    found: dict[str, Artifact] = {}
    current: Artifact | None = artifact
    while current is not None:
        slot = _SLOTS.get(current.manifest.kind)
        if slot is None or slot in found:
            break
        found[slot] = current
        if "data" not in found and slot != "quantized":  # that data only calibrated
            data = _input(current, "data", required)
            if data is not None:
                found["data"] = data
        current = _input(current, "model", required)
    return Lineage(**found)


def _input(artifact: Artifact, role: str, required: Collection[Kind]) -> Artifact | None:
    reference = artifact.manifest.input(role)
    if reference is None:
        return None
    try:
        return find_artifact(reference, artifact.path)
    except ArtifactError:
        if reference.kind in required:
            raise
        return None


def shown_metrics(evaluation: Artifact) -> dict[str, Any]:
    """Return the metrics of an evaluation with the method of test-time training that scored, if any, as its `method`.
    One that takes every document by itself has windows of its own; the metrics name those of `evaluate`."""
    metrics, ttt = evaluation.manifest.metrics, mapping(evaluation.manifest.config, "ttt")
    name = text(ttt, "method")
    if metrics.get("protocol") != "score_first" or name is None or name not in METHODS:
        return metrics
    own = {"context_length": mapping(ttt, name).get("context_length"), "stride": None}
    return metrics | {"method": name} | (own if METHODS.load(name).by_document else {})


def effective_config(lineage: Lineage) -> Plain:
    """Return the settings that were at work: each section from the artifact that it was settled by. Sections of stages
    that did not run are left out."""
    trained = lineage.trained
    makers: tuple[tuple[Kind, Artifact | None], ...] = (
        ("trained_model", trained if trained is not None and trained.manifest.kind == "trained_model" else None),
        ("quantized_model", lineage.quantized),
        ("packed_model", lineage.packed),
        ("adapted_model", lineage.evaluation if lineage.score_first else lineage.adapted),
        ("evaluation", lineage.evaluation),
    )
    config: Plain = {}
    for kind, artifact in makers:
        own = artifact.manifest.config if artifact is not None else {}
        sections = ("seed", *SETTLED[kind]) if kind == "trained_model" else SETTLED[kind]
        config |= {section: own[section] for section in sections if section in own}
    ttt = {"ttt": mapping(config, "ttt")}
    return config | without_keys(ttt, STAGES["ttt"].unused(ttt)) if ttt["ttt"] else config


def configuration_differences(lineages: Sequence[Lineage]) -> tuple[str, ...]:
    """List how the runs' settings differ apart from the seed, as 'quantize.mlp.bits: 6 -> 4', each key once.

    Keys that do not change a result are left out. The training data and the scored data count as settings too.
    """
    configs = [_comparable(lineage) for lineage in lineages]
    found: dict[str, None] = {}
    for other in configs[1:]:
        found |= dict.fromkeys(changed_keys(configs[0], other))
    return tuple(found)


def _comparable(lineage: Lineage) -> Plain:
    config = without_keys(effective_config(lineage), NEUTRAL)
    config.pop("seed", None)
    for role, artifact in (("training data", lineage.trained), ("scored data", lineage.evaluation)):
        reference = artifact.manifest.input("data") if artifact is not None else None
        config[role] = reference.digest[:12] if reference is not None else None
    return config
