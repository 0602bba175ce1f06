"""The steps of a run as text: why each runs while it does, and what came out at the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from golfpipe.cli.table import format_metric, format_table
from golfpipe.store.metric_values import count, number

if TYPE_CHECKING:
    from golfpipe.pipeline.runner import Step

MAX_REASONS = 6
KINDS_PER_SEED = ("trained_model", "packed_model", "evaluation")
"""What has a row for each of several seeds; all rows would not fit on a screen."""
SCORED_KINDS = ("trained_model", "quantized_model", "packed_model", "adapted_model")


def step_lines(step: Step, width: int) -> list[str]:
    """Return a line like 'quantize stale config quantize.mlp.bits: 6 -> 4'; further reasons get lines of their own."""
    start = f"{step.node.name:<{width}}  {step.state:<13}  "
    reasons = list(step.reasons)
    if step.state == "up to date" and step.artifact is not None:
        reasons = [f"key {step.artifact.manifest.key[:8]}"]
    if len(reasons) > MAX_REASONS:
        reasons = [*reasons[:MAX_REASONS], f"and {len(reasons) - MAX_REASONS} more"]
    first, *others = reasons or [""]
    return [f"{start}{first}".rstrip(), *(" " * len(start) + other for other in others)]


def result_table(steps: Sequence[Step]) -> list[str]:
    """Return a table with a row per step that makes something, with the score from the step that evaluates it. A star
    marks those that are not eligible."""
    scores = {step.node.inputs.get("model"): step for step in steps if step.node.output == "evaluation"}
    rows, barred = [], False
    for step in steps:
        kind = step.node.output
        if step.artifact is None or (
            kind == "evaluation" and step.node.stage is not None and step.node.stage.name != "ttt"
        ):
            continue
        if step.node.seed is not None and kind not in KINDS_PER_SEED:
            continue
        manifest = step.artifact.manifest
        scored = scores.get(step.node.name) if kind in SCORED_KINDS else step if kind == "evaluation" else None
        metrics = scored.artifact.manifest.metrics if scored is not None and scored.artifact is not None else {}
        size = sum(entry.bytes for entry in manifest.files.values() if entry.content) if kind in SCORED_KINDS else None
        is_barred = metrics.get("eligible") is False
        barred = barred or is_barred
        rows.append(
            [
                f"{step.node.name}{'*' * is_barred}",
                format_metric("val_loss_nats", number(metrics, "val_loss_nats")),
                format_metric("val_bpb", number(metrics, "val_bpb")),
                f"{count(manifest.metrics, 'packed_bytes') or size:,}" if size is not None else "-",
                _seconds(manifest.metrics),
                _seconds(metrics) if scored is not step else "-",
                step.state,
            ]
        )
    table = format_table(["step", "val_loss", "val_bpb", "bytes", "seconds", "scored in", ""], rows)
    return [*table, *(["* not eligible: the model saw the text before it was scored"] if barred else [])]


def _seconds(metrics: Mapping[str, Any]) -> str:
    seconds = number(metrics, "seconds")
    return f"{seconds:,.1f}" if seconds is not None else "-"
