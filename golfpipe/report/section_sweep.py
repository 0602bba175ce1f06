"""The sweeps of the runs: a picture of bytes against score, and a row per cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from golfpipe.report.pareto import pareto_figure
from golfpipe.report.run_data import RunData
from golfpipe.report.svg import Drawing, drawing
from golfpipe.report.sweep_points import label, read_sweep, sweep_points, varied_keys
from golfpipe.store.metric_values import count, flag, mapping, number, text

MOST_ROWS = 40
"""Rows of the table at most; results.csv has all."""


class SweepRow(NamedTuple):
    """A cell of the sweep."""

    label: str
    val_bpb: float | None
    total_bytes: int | None
    is_over: bool
    is_best: bool
    error: str | None


class Sweep(NamedTuple):
    """The sweep of a run: best cells first, and how many more there are."""

    name: str
    figure: Drawing | None
    rows: list[SweepRow]
    left: int


def sweeps(runs: Sequence[RunData]) -> list[Sweep]:
    """Return the sweep of each run that has one."""
    found = [(run.name, read_sweep(run.sweep)) for run in runs]
    return [_sweep(name, rows, index) for index, (name, rows) in enumerate(found) if rows]


def _sweep(name: str, rows: Sequence[Mapping[str, Any]], index: int) -> Sweep:
    points, limit = sweep_points(rows)
    draw, title = partial(pareto_figure, points, limit), "Bytes against bits per byte of every cell"
    figure = drawing(draw, name=f"sweep-{index}", title=title) if points else None
    ranked = sweep_rows(rows)
    return Sweep(name, figure, ranked[:MOST_ROWS], max(0, len(ranked) - MOST_ROWS))


def sweep_rows(rows: Sequence[Mapping[str, Any]]) -> list[SweepRow]:
    """Return the cells in the rows of results.jsonl, best first."""
    varied = varied_keys(rows)
    ranked = sorted(rows, key=lambda row: (number(row, "val_bpb") is None, number(row, "val_bpb") or 0.0))
    return [
        SweepRow(
            label=label(mapping(row, "settings"), varied) or "the only cell",
            val_bpb=number(row, "val_bpb"),
            total_bytes=count(row, "total_bytes"),
            is_over=flag(row, "fits") is False,
            is_best=flag(row, "pareto") is True,
            error=text(row, "error"),
        )
        for row in ranked
    ]
