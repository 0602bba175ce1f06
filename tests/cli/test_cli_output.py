"""Progress and tables."""

from __future__ import annotations

import io

import pytest

from golfpipe.cli import progress as progress_module
from golfpipe.cli.failure import Mode
from golfpipe.cli.progress import BarReporter, LineReporter, QuietReporter, make_reporter
from golfpipe.cli.table import format_metric, format_table


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class _Closed(io.StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError


def test_the_reporter_suits_the_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    assert isinstance(make_reporter(quiet=True, verbose=False, stream=_Terminal()), QuietReporter)
    assert isinstance(make_reporter(quiet=False, verbose=False, stream=_Terminal()), BarReporter)
    assert isinstance(make_reporter(quiet=False, verbose=False, stream=io.StringIO()), LineReporter)
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(make_reporter(quiet=False, verbose=False, stream=_Terminal()), LineReporter)


def test_lines_have_rate_time_left_and_note(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 5.0, 5.0, 11.0, 11.0, 20.0, 20.0])
    monkeypatch.setattr(progress_module.time, "monotonic", lambda: next(clock))
    stream = io.StringIO()
    with LineReporter(stream).task("train", 40, "steps") as task:
        task.advance(10, "loss 3")
        task.advance(12)
        task.advance(18)
    assert stream.getvalue().splitlines() == [
        "train: 22 of 40 steps, 2/s, 9.0 s left, loss 3",
        "train: 40 of 40 steps, 2/s, loss 3",
    ]


def test_short_tasks_print_no_line() -> None:
    stream = io.StringIO()
    with LineReporter(stream).task("pack", 3, "tensors") as task:
        task.advance(3)
    assert stream.getvalue() == ""


def test_quiet_speaks_only_to_warn() -> None:
    stream = io.StringIO()
    reporter = QuietReporter(stream)
    reporter.note("x")
    with reporter.task("a", 1, "b") as task:
        task.advance(1)
    reporter.warn("careful")
    assert stream.getvalue() == "warning: careful\n"


def test_a_reader_that_left_does_not_end_the_work() -> None:
    reporter = LineReporter(_Closed(), interval=0)
    reporter.note("x")
    with reporter.task("a", 1, "b") as task:
        task.advance(1)


@pytest.mark.parametrize("no_color", [True, False])
def test_bars_on_a_terminal(monkeypatch: pytest.MonkeyPatch, no_color: bool) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.delenv("NO_COLOR", raising=False)
    if no_color:
        monkeypatch.setenv("NO_COLOR", "1")
    stream = _Terminal()
    reporter = BarReporter(stream)
    with reporter.task("train [odd]", 10, "steps") as task:
        task.advance(4, "loss [3]")
        reporter.note("a note [x]")
        with reporter.task("inner", 0, "tokens") as inner:
            inner.advance(5)
        task.advance(6)
    text = stream.getvalue()
    for part in ("train [odd]", "10/10", "loss [3]", "a note [x]", "inner"):
        assert part in text
    assert ("\x1b[3" in text) is not no_color  # color codes; cursor movements are no colors


def test_tables_align() -> None:
    assert format_table(["name", "n"], [["a", "1"], ["bb", "1,000"]]) == ["name      n", "a         1", "bb    1,000"]
    assert format_table([], [["a", "b"]]) == ["a  b"]


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("packed_bytes", 1234567, "1,234,567 B"), ("val_bpb", 1.23456789, "1.234568"), ("seconds", 75.0, "1 min 15 s"),
        ("fits", True, "yes"), ("steps", 1000, "1,000"), ("x", None, "-"), ("method", "sliding", "sliding"),
        ("relative_mse", 0.01234567, "0.0123457"),
    ],
)  # fmt: skip
def test_metrics_carry_their_units(name: str, value: object, text: str) -> None:
    assert format_metric(name, value) == text


def test_the_mode_is_read_from_the_words() -> None:
    words = ["train", "--json", "-qv"]
    assert Mode.of(words) == Mode(json=True, quiet=True, verbose=True, command="train", words=tuple(words))
    words = ["train", "--", "--json"]
    assert Mode.of(words) == Mode(json=False, quiet=False, verbose=False, command="train", words=tuple(words))
    assert Mode.of(["train", "-o", "q", "--quiet"]).quiet
