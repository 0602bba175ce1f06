"""The sweeps of the runs: a picture of bytes against score, and a row per cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from golfpipe.report.markup import Content, Html, el, join, table
from golfpipe.report.pareto import pareto_figure
from golfpipe.report.run_data import RunData
from golfpipe.report.sections import MISSING, drawing, or_missing, section
from golfpipe.report.sweep_points import label, read_sweep, sweep_points, varied_keys
from golfpipe.store.metric_values import count, flag, mapping, number, text

MOST_ROWS = 40
"""Of the table; results.csv has all."""


def sweep_section(runs: Sequence[RunData]) -> Html | None:
    """None where no run folder holds a sweep."""
    parts: list[Content] = []
    for index, run in enumerate(runs):
        rows = read_sweep(run.sweep)
        if not rows:
            continue
        points, limit = sweep_points(rows)
        parts.append(el("h3", run.name) if len(runs) > 1 else None)
        if points:
            draw = partial(pareto_figure, points, limit)
            parts.append(drawing(draw, name=f"sweep-{index}", title="Bytes against bits per byte of every cell"))
        parts.append(_table(rows))
    if not parts:
        return None
    return section(
        "Sweep",
        "Variants from one checkpoint. Blue: no other cell is as small and better. Grey: dominated. The table starts"
        " with the best score.",
        *parts,
    )


def _table(rows: Sequence[Mapping[str, Any]]) -> Html:
    varied = varied_keys(rows)
    ranked = sorted(rows, key=lambda row: (number(row, "val_bpb") is None, number(row, "val_bpb") or 0.0))
    lines: list[list[Content]] = []
    notes: list[str | None] = []
    for row in ranked[:MOST_ROWS]:
        best, over = flag(row, "pareto") is True, flag(row, "fits") is False
        size: Content = or_missing(count(row, "total_bytes"), "{:,}")
        lines.append(
            [
                label(mapping(row, "settings"), varied) or "the only cell",
                or_missing(number(row, "val_bpb"), "{:.4f}"),
                join(size, el("small", el("span", "over the limit", class_="flag"))) if over else size,
                el("strong", "yes") if best else MISSING,
            ]
        )
        notes.append(text(row, "error"))
    shown = table(["cell", "bits/byte", "bytes", "best for its size"], lines, numeric=frozenset({1, 2}), notes=notes)
    left = len(ranked) - MOST_ROWS
    return join(shown, el("p", f"{left} more in results.csv.", class_="note") if left > 0 else None)
