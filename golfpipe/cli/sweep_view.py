"""A view of a sweep while it runs, on stderr: a live table on a terminal, otherwise one line per finished cell."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Literal, TextIO

from golfpipe.cli.layout import DEFAULT_WIDTH, NARROWEST_COLUMN
from golfpipe.cli.progress import BarReporter
from golfpipe.cli.table import format_metric, shortened
from golfpipe.units import format_seconds
from golfpipe.visible import visible_line

if TYPE_CHECKING:
    from rich.table import Table

    from golfpipe.sweeps.plan import SweepPlan
    from golfpipe.sweeps.results import CellResult
    from golfpipe.sweeps.run import SweepRun

_OVER = ("done", "up to date", "failed")
_OTHER_LINES = 4
"""Lines of the live table beside those of cells: its title, its header, how many more there are, and the cursor's."""


@contextmanager
def sweep_view(plan: SweepPlan, *, quiet: bool, stream: TextIO | None = None) -> Iterator[Callable[[Any], None]]:
    """Yield a function to call with the SweepRun whenever it may have changed."""
    stream = stream if stream is not None else sys.stderr
    if quiet:
        yield lambda run: None
    elif stream.isatty() and os.environ.get("TERM") != "dumb":
        with _live(plan, stream) as show:
            yield show
    else:
        yield _Lines(plan).show


class _Lines:
    """The view for logs and pipes."""

    def __init__(self, plan: SweepPlan) -> None:
        self.plan = plan
        self.said: set[int] = set()
        self.began = time.monotonic()

    def show(self, run: SweepRun) -> None:
        from golfpipe.report.sweep_points import label, varied_keys
        from golfpipe.sweeps.results import collect

        over = [i for i in range(len(self.plan.cells)) if i not in self.said and run.cell_state(i) in _OVER]
        if not over:
            return
        rows = collect(run)
        keys = varied_keys([{"settings": row.settings} for row in rows])
        for index in over:
            self.said.add(index)
            if rows[index].state != "up to date":
                place, about = f"[{len(self.said)}/{len(rows)}]", f"{_outcome(rows[index])}{self._left()}"
                room = max(NARROWEST_COLUMN, DEFAULT_WIDTH - len(place) - len(about) - len(" : "))
                name = shortened(label(rows[index].settings, keys) or "the only cell", room)
                self.plan.reporter.note(f"{place} {name}: {about}")
        found = sum(rows[index].state == "up to date" for index in over)
        if found:
            self.plan.reporter.note(f"[{len(self.said)}/{len(rows)}] {found} cells are up to date")

    def _left(self) -> str:
        done, total = len(self.said), len(self.plan.cells)
        elapsed = time.monotonic() - self.began
        return f", {format_seconds(elapsed / done * (total - done))} left" if done < total and elapsed > 1 else ""


def _outcome(row: CellResult) -> str:
    if row.state == "failed":
        return f"failed: {row.error}"
    if row.val_bpb is None and row.total_bytes is None:
        return "done"
    size = f", {row.total_bytes:,} B" if row.total_bytes is not None else ""
    return f"{format_metric('val_bpb', row.val_bpb)} bpb{size}"


@contextmanager
def _live(plan: SweepPlan, stream: TextIO) -> Iterator[Callable[[SweepRun], None]]:
    from rich.console import Console
    from rich.live import Live

    console = Console(file=stream, highlight=False)
    messages = plan.reporter.above(console) if isinstance(plan.reporter, BarReporter) else nullcontext()
    with messages, Live(console=console, transient=True, refresh_per_second=4) as live:
        yield lambda run: live.update(_table(plan, run, max(1, console.size.height - _OTHER_LINES)))


def _table(plan: SweepPlan, run: SweepRun, most: int) -> Table:
    """Return a table of the cells at work and the best of the finished ones: at most `most` of them, one line each.

    A table that is higher than the terminal cannot be wiped away; its rests would stay.
    """
    from rich.table import Table
    from rich.text import Text

    from golfpipe.report.sweep_points import label, varied_keys
    from golfpipe.sweeps.results import collect

    rows = collect(run)
    keys = varied_keys([asdict(row) for row in rows])
    order = {"running": 0, "failed": 1, "done": 2, "up to date": 2, "waiting": 3}
    ranked = sorted(range(len(rows)), key=lambda i: (order[rows[i].state], rows[i].val_bpb or 99.0, i))
    finished, packed = sum(row.state in _OVER for row in rows), sum(row.total_bytes is not None for row in rows)
    title = f"{finished} of {len(rows)} cells finished, {packed} packed"
    table = Table(box=None, title=Text(title, no_wrap=True), title_justify="left", pad_edge=False)
    for name in ("cell", "val_bpb", "bytes", "", ""):
        justify: Literal["left", "right"] = "right" if name in ("val_bpb", "bytes") else "left"
        table.add_column(name, justify=justify, no_wrap=True, overflow="ellipsis")
    for index in ranked[:most]:
        row = rows[index]
        state = row.state if row.state != "running" else _running(run, index)
        table.add_row(
            Text(visible_line(label(row.settings, keys) or "the only cell")),
            format_metric("val_bpb", row.val_bpb),
            f"{row.total_bytes:,}" if row.total_bytes is not None else "-",
            "*" if row.pareto else "",
            Text(visible_line(state)),
        )
    if len(ranked) > most:
        table.add_row(f"and {len(ranked) - most} more", "", "", "", "")
    return table


def _running(run: SweepRun, index: int) -> str:
    step = next(step for step in run.of_cell(index) if step.state == "running")
    return f"{step.step.request.stage}, {time.monotonic() - step.began:.0f} s"
