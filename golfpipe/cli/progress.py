"""Progress on stderr: bars with rate and time left on a terminal, otherwise one plain line per interval."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

from golfpipe.cli.layout import terminal_width
from golfpipe.cli.terminal import message_lines, print_message
from golfpipe.units import format_count, format_seconds
from golfpipe.visible import visible_line

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

    from golfpipe.reporter import Reporter

WIDE = 72
"""Columns of a terminal from which on a bar, its rate and the time so far have room beside what is left."""
INTERVAL_SECONDS = 10.0
"""Seconds between the lines of one task where there is no terminal."""


def make_reporter(*, quiet: bool, verbose: bool, stream: TextIO | None = None) -> Reporter:
    """Return the reporter that suits the options and `stream` (stderr by default)."""
    stream = stream if stream is not None else sys.stderr
    if quiet:
        return QuietReporter(stream)
    if stream.isatty() and os.environ.get("TERM") != "dumb":
        return BarReporter(stream)
    return LineReporter(stream, interval=1.0 if verbose else INTERVAL_SECONDS)


class _NoTask:
    def advance(self, amount: float, note: str = "") -> None:
        pass


class QuietReporter:
    """A reporter for -q, which prints only warnings."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    @contextmanager
    def task(self, label: str, total: float, unit: str) -> Iterator[_NoTask]:
        yield _NoTask()

    def note(self, text: str) -> None:
        pass

    def warn(self, text: str) -> None:
        print_message(f"warning: {text}", self._stream)


class LineReporter:
    """A reporter for logs and pipes: a line every `interval` seconds of a task, and a last one if there were any."""

    def __init__(self, stream: TextIO, interval: float = INTERVAL_SECONDS) -> None:
        self._stream = stream
        self._interval = interval

    @contextmanager
    def task(self, label: str, total: float, unit: str) -> Iterator[_LineTask]:
        task = _LineTask(self._stream, self._interval, label, total, unit)
        yield task
        task.finish()

    def note(self, text: str) -> None:
        print_message(text, self._stream)

    def warn(self, text: str) -> None:
        print_message(f"warning: {text}", self._stream)


class _LineTask:
    def __init__(self, stream: TextIO, interval: float, label: str, total: float, unit: str) -> None:
        self._stream, self._interval = stream, interval
        self._label, self._total, self._unit = label, total, unit
        self._done, self._note = 0.0, ""
        self._started = self._last = time.monotonic()
        self._at_start: float | None = None
        self._lines = 0
        self._printed = 0.0

    def advance(self, amount: float, note: str = "") -> None:
        if self._at_start is None:
            # What an interrupted run had done arrives as the first amount, at once. It says nothing about the rate.
            self._at_start = amount if time.monotonic() - self._started < 0.001 else 0.0
        self._done += amount
        self._note = note or self._note
        if time.monotonic() - self._last >= self._interval:
            self._print()

    def finish(self) -> None:
        if self._lines and self._done != self._printed:
            self._print()

    def _print(self) -> None:
        self._last = time.monotonic()
        self._lines += 1
        self._printed = self._done
        elapsed = self._last - self._started
        rate = (self._done - (self._at_start or 0.0)) / elapsed if elapsed > 0 else 0.0
        parts = [f"{self._label}: {format_count(self._done)}"]
        if self._total:
            parts[0] += f" of {format_count(self._total)}"
        parts[0] += f" {self._unit}"
        parts.append(f"{format_count(float(f'{rate:.3g}'))}/s")
        if self._total and rate > 0 and self._done < self._total:
            parts.append(f"{format_seconds((self._total - self._done) / rate)} left")
        if self._note:
            parts.append(self._note)
        print_message(", ".join(parts), self._stream)


class BarReporter:
    """A reporter for a terminal: one bar per task, drawn by rich, which honors NO_COLOR."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._progress: Progress | None = None
        self._open_tasks = 0
        self._above: Console | None = None

    @contextmanager
    def above(self, console: Console) -> Iterator[None]:
        """Print messages through `console` inside the `with` block: above what it draws again and again, which they
        would otherwise tear apart."""
        self._above = console
        try:
            yield
        finally:
            self._above = None

    @contextmanager
    def task(self, label: str, total: float, unit: str) -> Iterator[_BarTask]:
        progress = self._start()
        self._open_tasks += 1
        identity = progress.add_task(visible_line(label), total=total or None, unit=unit, note="", shown="")
        try:
            yield _BarTask(progress, identity, total)
        finally:
            self._open_tasks -= 1
            if self._open_tasks == 0:
                progress.stop()
                self._progress = None

    def note(self, text: str) -> None:
        self._say(text)

    def warn(self, text: str) -> None:
        self._say(f"warning: {text}")

    def _start(self) -> Progress:
        if self._progress is None:
            self._progress = _make_progress(self._console())
            self._progress.start()
        return self._progress

    def _console(self) -> Console:
        from rich.console import Console

        return Console(file=self._stream, highlight=False)

    def _say(self, text: str) -> None:
        console = self._progress.console if self._progress is not None else self._above
        if console is not None:
            lines = message_lines(text, terminal_width(self._stream))
            console.print(lines, markup=False, soft_wrap=True)  # printed above the bars
        else:
            print_message(text, self._stream)


class _BarTask:
    def __init__(self, progress: Progress, identity: TaskID, total: float) -> None:
        self._progress, self._identity, self._total = progress, identity, total
        self._done = 0.0

    def advance(self, amount: float, note: str = "") -> None:
        self._done += amount
        shown = format_count(round(self._done))
        if self._total:
            shown += f"/{format_count(self._total)}"
        fields: dict[str, Any] = {"shown": shown} | ({"note": visible_line(note)} if note else {})
        self._progress.update(self._identity, advance=amount, **fields)


def _make_progress(console: Console) -> Progress:
    from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Task as RichTask
    from rich.text import Text

    class RateColumn(ProgressColumn):
        def render(self, task: RichTask) -> Text:
            speed = task.finished_speed or task.speed
            return Text(f"{format_count(float(f'{speed:.3g}'))} {task.fields['unit']}/s" if speed else "")

    wide = console.width >= WIDE
    columns: list[ProgressColumn] = [
        TextColumn("{task.description}", markup=False),
        *([BarColumn(bar_width=30)] if wide else []),
        TextColumn("{task.fields[shown]}", markup=False),
        *([RateColumn(), TimeElapsedColumn()] if wide else []),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", markup=False),
    ]
    return Progress(*columns, console=console, transient=False)
