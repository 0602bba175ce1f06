"""The table of stages, the score after each, and the curves of training and of test-time training."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

from golfpipe.loading.lineage import shown_metrics
from golfpipe.report.figures import Rung, TrainingPlot, adaptation_figure, ladder_figure, training_figure
from golfpipe.report.run_data import RunData, adaptation_curve, form_index, training_curves
from golfpipe.report.section_overview import form_name
from golfpipe.report.svg import Drawing, drawing
from golfpipe.store.artifact import Artifact
from golfpipe.store.metric_values import count, flag, mapping, number, text
from golfpipe.units import format_count

_FORMS = ("trained", "quantized", "packed", "adapted", "adapted")
"""Short names for figures, by form_index."""


class StageRow(NamedTuple):
    """What a stage left behind; None stands for what it does not have."""

    name: str
    val_loss_nats: float | None
    val_bpb: float | None
    bytes: int | None
    seconds: float | None
    about: str
    is_eligible: bool
    is_partial: bool
    digest: str


class Chart(NamedTuple):
    """A figure of curves, and their names with the numbers of their colors."""

    figure: Drawing
    legend: list[tuple[str, int]]


class LadderRow(NamedTuple):
    """The score of one form of the model."""

    form: str
    val_bpb: float
    change: float | None
    """The difference to the run's first form; None for that form itself."""
    is_eligible: bool


class Ladder(NamedTuple):
    """The scores of all forms of the model, as a figure and as rows."""

    figure: Drawing
    rows: list[LadderRow]


def stage_row(stage: Artifact) -> StageRow:
    """Return the losses, bytes and seconds of an artifact."""
    metrics = stage.manifest.metrics
    return StageRow(
        name=stage.path.name,
        val_loss_nats=number(metrics, "val_loss_nats"),
        val_bpb=number(metrics, "val_bpb"),
        bytes=_bytes(stage),
        seconds=_seconds(stage),
        about=_about(stage),
        is_eligible=flag(metrics, "eligible") is not False,
        is_partial=flag(metrics, "whole_split") is False,
        digest=stage.manifest.digest[:12],
    )


def _seconds(stage: Artifact) -> float | None:
    """The seconds of the work itself, where the stage tells them from its whole time."""
    values = (number(stage.manifest.metrics, key) for key in ("train_seconds", "eval_seconds", "seconds"))
    return next((value for value in values if value is not None), None)


def _bytes(stage: Artifact) -> int | None:
    """What the stage's result takes: the file of weights, or all that counts against the limit."""
    manifest = stage.manifest
    if manifest.kind in ("packed_model", "submission"):
        return count(manifest.metrics, "total_bytes")
    names = {
        "weights": "weights.safetensors",
        "trained_model": "ema.safetensors",
        "quantized_model": "quantized.safetensors",
        "adapted_model": "adapted.safetensors",
    }
    entry = manifest.files.get(names.get(manifest.kind, ""))
    return entry.bytes if entry is not None else None


def _about(stage: Artifact) -> str:
    metrics = stage.manifest.metrics
    parts: list[str] = []
    if stage.manifest.kind == "weights":
        values, tensors = count(metrics, "values"), count(metrics, "tensors")
        parts.append(f"{format_count(values)} values" if values is not None else "")
        parts.append(f"{tensors:,} tensors" if tensors is not None else "")
    elif stage.manifest.kind == "trained_model":
        steps = count(metrics, "steps")
        parts.append(f"{steps:,} steps" if steps is not None else stage.manifest.stage)
    elif stage.manifest.kind == "quantized_model":
        error = number(metrics, "relative_mse")
        parts.append(f"relative squared error {error:.2%}" if error is not None else "")
    elif stage.manifest.kind == "packed_model":
        source = text(metrics, "code_bytes_source")
        parts.append(f"weights and code ({source})" if source else "weights and code")
        parts.append("fits" if flag(metrics, "fits") else "does not fit")
    elif stage.manifest.kind == "adapted_model":
        epochs = count(metrics, "epochs")
        parts.append(text(mapping(stage.manifest.config, "ttt"), "method") or "")
        parts.append(f"{epochs} epoch{'s' * (epochs != 1)}" if epochs is not None else "")
    elif stage.manifest.kind == "evaluation":
        metrics = shown_metrics(stage)
        stride = count(metrics, "stride")
        windows = text(metrics, "method") or "windows"
        parts.append(f"{form_name(metrics)}, {windows}{f' stride {stride}' if stride else ''}")
        targets = count(metrics, "scored_targets")
        parts.append(f"{format_count(targets)} targets" if targets is not None else "")
        parts.append("a part of the split" if flag(metrics, "whole_split") is False else "")
    elif stage.manifest.kind == "submission":
        seeds = metrics.get("seeds")
        parts.append(f"track {text(metrics, 'track') or 'unknown'}")
        parts.append(_seeds(seeds) if isinstance(seeds, list) else "")
    if flag(metrics, "eligible") is False:
        parts.append("not eligible")
    parts.append(_memory(stage))
    return ", ".join(part for part in parts if part)


def _memory(stage: Artifact) -> str:
    """'1.2 GiB memory' at its peak: of the GPU where the stage noted it, else of the process."""
    peak = count(stage.manifest.metrics, "peak_memory_bytes") or count(stage.manifest.provenance, "peak_memory_bytes")
    return f"{peak / 2**30:.1f} GiB memory" if peak is not None else ""


def training_chart(runs: Sequence[RunData]) -> Chart | None:
    """Return the loss over steps; None where no run has a log."""
    plots, names = [], []
    for run in runs:
        trained = run.first("trained_model")
        curves = training_curves(trained) if trained is not None else {}
        if curves:
            plots.append(
                TrainingPlot(train=curves.get("train"), validation=curves.get("validation"), lr=curves.get("lr"))
            )
            names.append(run.name)
    if not plots:
        return None
    if len(plots) == 1:
        shown = (("train", plots[0].train), ("validation, averaged weights", plots[0].validation))
        legend = [(name, color) for color, (name, curve) in enumerate(shown) if curve]
        legend += [("learning-rate factor", 2)] if plots[0].lr else []
    else:
        legend = list(zip(names, range(len(names)), strict=True))
    return Chart(drawing(partial(training_figure, plots), name="training", title="Loss over training steps"), legend)


def ladder(runs: Sequence[RunData]) -> Ladder | None:
    """Return the bits per byte after each stage, in the same windows; None where nothing was evaluated."""
    rungs, rows = [], []
    alone = len(runs) == 1
    for index, run in enumerate(runs):
        first: float | None = None
        for evaluation in run.ladder:
            metrics = evaluation.manifest.metrics
            bpb = number(metrics, "val_bpb")
            if bpb is None:
                continue
            form = form_name(metrics) if alone else f"{run.name}: {form_name(metrics)}"
            short = form if alone else f"{_short(run.name)}: {_FORMS[form_index(evaluation)]}"
            eligible = flag(metrics, "eligible") is not False
            rungs.append(Rung(label=short, val_bpb=bpb, eligible=eligible, series=index))
            rows.append(LadderRow(form, bpb, None if first is None else bpb - first, eligible))
            first = bpb if first is None else first
    if not rungs:
        return None
    return Ladder(drawing(partial(ladder_figure, rungs), name="ladder", title="Bits per byte after each stage"), rows)


def adaptation_chart(runs: Sequence[RunData]) -> Chart | None:
    """Return the loss over the epochs of test-time training; None where there were not two."""
    adapted = [(run.name, run.first("adapted_model")) for run in runs]
    curves = [(name, adaptation_curve(artifact)) for name, artifact in adapted if artifact is not None]
    drawn = [(name, curve) for name, curve in curves if curve is not None and len(curve.x) > 1]
    if not drawn:
        return None
    draw = partial(adaptation_figure, [curve for _, curve in drawn])
    figure = drawing(draw, name="adaptation", title="Loss over epochs of test-time training")
    return Chart(figure, [(name, color) for color, (name, _) in enumerate(drawn)])


def _seeds(seeds: list[object]) -> str:
    return f"seed{'s' * (len(seeds) != 1)} {', '.join(str(seed) for seed in seeds)}"


def _short(label: str) -> str:
    return label if len(label) <= 20 else label[:18] + "..."
