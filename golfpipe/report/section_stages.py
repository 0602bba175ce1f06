"""The table of stages, the score after each, and the curves of training and of test-time training."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from golfpipe.report.figures import Rung, TrainingPlot, adaptation_figure, ladder_figure, training_figure
from golfpipe.report.markup import Content, Html, el, join, table
from golfpipe.report.run_data import RunData, adaptation_curve, form_index, training_curves
from golfpipe.report.section_overview import form_name
from golfpipe.report.sections import MISSING, drawing, legend, or_missing, section
from golfpipe.store.artifact import Artifact
from golfpipe.store.metric_values import count, flag, mapping, number, text
from golfpipe.units import format_count, format_seconds

_FORMS = ("trained", "quantized", "packed", "adapted", "adapted")
"""Short names for figures, by form_index."""


def stage_table(runs: Sequence[RunData]) -> Html:
    """One row per artifact: losses, bytes, seconds."""
    header: list[Content] = ["stage", "nats/token", "bits/byte", "bytes", "time"]
    parts: list[Content] = []
    for run in runs:
        rows = [_stage_row(stage) for stage in run.stages]
        notes = [_about(stage) for stage in run.stages]
        parts.append(el("h3", run.name) if len(runs) > 1 else None)
        parts.append(table(header, rows, numeric=frozenset({1, 2, 3, 4}), notes=notes))
    return section(
        "Stages",
        "What each step left behind. Train is scored on the prefix that training validates on, an evaluation on what"
        " it was asked to score.",
        *parts,
    )


def _stage_row(stage: Artifact) -> list[Content]:
    metrics = stage.manifest.metrics
    seconds = stage_seconds(stage)
    return [
        stage.path.name,
        or_missing(number(metrics, "val_loss_nats"), "{:.4f}"),
        or_missing(number(metrics, "val_bpb"), "{:.4f}"),
        or_missing(stage_bytes(stage), "{:,}"),
        format_seconds(seconds) if seconds is not None else MISSING,
    ]


def stage_seconds(stage: Artifact) -> float | None:
    """Of the work itself, where the stage tells it from its whole time."""
    values = (number(stage.manifest.metrics, key) for key in ("train_seconds", "eval_seconds", "seconds"))
    return next((value for value in values if value is not None), None)


def stage_bytes(stage: Artifact) -> int | None:
    """What the stage's result takes: the file of weights, or all that counts against the limit."""
    manifest = stage.manifest
    if manifest.kind in ("packed_model", "submission"):
        return count(manifest.metrics, "total_bytes")
    names = {
        "trained_model": "ema.safetensors",
        "quantized_model": "quantized.safetensors",
        "adapted_model": "adapted.safetensors",
    }
    entry = manifest.files.get(names.get(manifest.kind, ""))
    return entry.bytes if entry is not None else None


def _about(stage: Artifact) -> str | None:
    metrics = stage.manifest.metrics
    parts: list[str] = []
    if stage.manifest.kind == "trained_model":
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
        stride = count(metrics, "stride")
        windows = text(metrics, "method") or "windows"
        parts.append(f"{form_name(metrics)}, {windows}{f' stride {stride}' if stride else ''}")
        targets = count(metrics, "scored_targets")
        parts.append(f"{format_count(targets)} targets" if targets is not None else "")
    elif stage.manifest.kind == "submission":
        seeds = metrics.get("seeds")
        parts.append(f"track {text(metrics, 'track') or 'unknown'}")
        parts.append(_seeds(seeds) if isinstance(seeds, list) else "")
    if flag(metrics, "eligible") is False:
        parts.append("not eligible")
    parts.append(_memory(stage))
    return ", ".join(part for part in parts if part) or None


def _memory(stage: Artifact) -> str:
    """'1.2 GiB memory' at its peak: of the GPU where the stage noted it, else of the process."""
    peak = count(stage.manifest.metrics, "peak_memory_bytes") or count(stage.manifest.provenance, "peak_memory_bytes")
    return f"{peak / 2**30:.1f} GiB memory" if peak is not None else ""


def training_section(runs: Sequence[RunData]) -> Html | None:
    """Loss over steps."""
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
        entries = [(name, color) for color, (name, curve) in enumerate(shown) if curve]
        entries += [("learning-rate factor", 2)] if plots[0].lr else []
    else:
        entries = list(zip(names, range(len(names)), strict=True))
    return section(
        "Training",
        "Thin line: every logged step. Thick line: its running mean. Rings: the averaged weights on validation text."
        " The first steps may run off the top.",
        legend(entries),
        drawing(partial(training_figure, plots), name="training", title="Loss over training steps"),
    )


def ladder_section(runs: Sequence[RunData]) -> Html | None:
    """Bits per byte after each stage, in the same windows."""
    rungs, rows = [], []
    for index, run in enumerate(runs):
        first: float | None = None
        for evaluation in run.ladder:
            metrics = evaluation.manifest.metrics
            bpb = number(metrics, "val_bpb")
            if bpb is None:
                continue
            alone = len(runs) == 1
            label = form_name(metrics) if alone else f"{run.name}: {form_name(metrics)}"
            short = label if alone else f"{_short(run.name)}: {_FORMS[form_index(evaluation)]}"
            eligible = flag(metrics, "eligible") is not False
            rungs.append(Rung(label=short, val_bpb=bpb, eligible=eligible, series=index))
            change = MISSING if first is None else f"{bpb - first:+.4f}".replace("-", "\u2212")
            first = bpb if first is None else first
            rows.append((label, bpb, change, eligible))
    if not rungs:
        return None
    hollow = el(
        "ul", el("li", el("i", class_="ring"), "not eligible: saw the text before it was scored"), class_="legend"
    )
    return section(
        "Score per stage",
        "The same targets in the same windows, so that the differences are what each step costs or gains.",
        None if all(rung.eligible for rung in rungs) else hollow,
        drawing(partial(ladder_figure, rungs), name="ladder", title="Bits per byte after each stage"),
        table(
            ["form of the model", "bits per byte", "against the first"],
            [
                [join(label, "" if eligible else el("small", "not eligible")), f"{bpb:.6f}", change]
                for label, bpb, change, eligible in rows
            ],
            numeric=frozenset({1, 2}),
        ),
    )


def adaptation_section(runs: Sequence[RunData]) -> Html | None:
    """Test-time training."""
    curves, names = [], []
    for run in runs:
        adapted = run.first("adapted_model")
        curve = adaptation_curve(adapted) if adapted is not None else None
        if curve is not None and len(curve.x) > 1:
            curves.append(curve)
            names.append(run.name)
    if not curves:
        return None
    return section(
        "Test-time training",
        "Training on validation text before it is scored. The challenge's rules forbid it for a score.",
        legend(list(zip(names, range(len(names)), strict=True))) if len(curves) > 1 else None,
        drawing(partial(adaptation_figure, curves), name="adaptation", title="Loss over epochs of test-time training"),
    )


def _seeds(seeds: list[object]) -> str:
    return f"seed{'s' * (len(seeds) != 1)} {', '.join(str(seed) for seed in seeds)}"


def _short(label: str) -> str:
    return label if len(label) <= 20 else label[:18] + "..."
