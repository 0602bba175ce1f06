"""The sweeps of the runs: the knee, a picture of bytes against score, and a row per cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from golfpipe.report.pareto import pareto_figure
from golfpipe.report.run_data import RunData, read_sweep
from golfpipe.report.svg import Drawing, drawing
from golfpipe.report.sweep_designs import shown_rows
from golfpipe.report.sweep_points import label, sweep_points, varied_keys
from golfpipe.report.sweep_summary import SweepSummary, difference_text, summarize
from golfpipe.store.metric_values import count, flag, mapping, number, text

MOST_ROWS = 40
"""Rows of the table at most; results.csv has all."""


class SweepRow(NamedTuple):
    """A cell of the sweep."""

    label: str
    val_bpb: float | None
    difference: str | None
    """The difference from the unquantized weights, with its noise."""
    total_bytes: int | None
    is_over: bool
    is_best: bool
    is_knee: bool
    error: str | None


class Sweep(NamedTuple):
    """The sweep of a run: best cells first, and how many more there are."""

    name: str
    summary: SweepSummary
    figure: Drawing | None
    unquantized: list[float]
    """The scores of the unquantized weights, one for each way of scoring."""
    rows: list[SweepRow]
    left: int


def sweeps(runs: Sequence[RunData]) -> list[Sweep]:
    """Return the sweep of each run that has one."""
    found = [(run.name, read_sweep(run.sweep)) for run in runs]
    return [_sweep(name, rows, index) for index, (name, rows) in enumerate(found) if rows]


def _sweep(name: str, rows: Sequence[Mapping[str, Any]], index: int) -> Sweep:
    rows = shown_rows(rows)
    found = sweep_points(rows)
    draw, title = partial(pareto_figure, found), "Bytes against bits per byte of every cell"
    figure = drawing(draw, name=f"sweep-{index}", title=title) if found.points else None
    ranked = sweep_rows(rows)
    left = max(0, len(ranked) - MOST_ROWS)
    return Sweep(name, summarize(rows), figure, found.unquantized, ranked[:MOST_ROWS], left)


def sweep_rows(rows: Sequence[Mapping[str, Any]]) -> list[SweepRow]:
    """Return the cells in the rows of results.jsonl, best first."""
    varied = varied_keys(rows)
    ranked = sorted(rows, key=lambda row: (number(row, "val_bpb") is None, number(row, "val_bpb") or 0.0))
    return [
        SweepRow(
            label=label(mapping(row, "settings"), varied) or "the only cell",
            val_bpb=number(row, "val_bpb"),
            difference=difference_text(row),
            total_bytes=count(row, "total_bytes"),
            is_over=flag(row, "fits") is False,
            is_best=flag(row, "pareto") is True,
            is_knee=flag(row, "knee") is True,
            error=text(row, "error"),
        )
        for row in ranked
    ]
