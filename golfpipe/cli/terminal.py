"""Where text leaves for the terminal. Nothing in it acts there, and a stream that takes no more does not end the work.

The answer of a command is lines, so that a name with a newline in it forges none. A message is one paragraph, whose
further lines are indented. Characters that the stream's encoding lacks are shown as escapes.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterable, Iterator
from typing import TextIO

from golfpipe.cli.layout import TableLine, fitted, terminal_width, wrapped
from golfpipe.errors import StageFailed
from golfpipe.visible import visible_line


def open_streams() -> None:
    """Prepare stdout and stderr. Where one was closed (`>&-`), what is written goes nowhere; otherwise the next file to
    be opened would take its number, and its text."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free, which is this one
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "r" if number == 0 else "w", closefd=False))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def print_lines(lines: Iterable[str]) -> None:
    """Print the lines of an answer. Raises BrokenPipeError, and StageFailed where they cannot be written."""
    width = terminal_width(sys.stdout)
    shown = [line if isinstance(line, TableLine) else visible_line(line) for line in lines]
    write_answer("".join(f"{line}\n" for line in (shown if width is None else fitted(shown, width))))


def print_path(path: object) -> None:
    """Print a path alone, for scripts to read: as it is, except to a terminal. Raises as `print_lines` does."""
    if sys.stdout.isatty() or not isinstance(sys.stdout, io.TextIOWrapper):
        print_lines([str(path)])
    else:
        write_answer(os.fsencode(f"{path}\n"))


def write_answer(text: str | bytes) -> None:
    """Write to stdout as it is, at once. Raises BrokenPipeError, and StageFailed where it cannot be written."""
    try:
        if isinstance(text, bytes):
            sys.stdout.buffer.write(text)
        else:
            sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        _send_nowhere(sys.stdout)
        raise
    except OSError as error:
        _send_nowhere(sys.stdout)
        raise StageFailed(f"standard output: {error.strerror}", hint="what was made is complete") from error


def prompted_lines(mark: str) -> Iterator[str]:
    """Yield the lines of stdin without their ends; bytes that are no text become U+FFFD. Where a person types them,
    each is asked for with `mark`, can be edited, and is kept in a history until the program ends. Ctrl-D ends them."""
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="replace")
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        for line in sys.stdin:
            yield line.removesuffix("\n")
        return
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401  # gives input() its editing and its history
    while True:
        try:
            line = input(mark)
        except (EOFError, KeyboardInterrupt) as end:
            write_answer("\n")  # the mark's line is left
            if isinstance(end, EOFError):
                return
            raise
        yield line


def print_message(text: str, stream: TextIO | None = None) -> None:
    """Print one message to `stream` (stderr by default). A stream that takes no more is let be: a reader that has gone
    must not end hours of training."""
    stream = stream if stream is not None else sys.stderr
    try:
        stream.write(message_lines(text, terminal_width(stream)) + "\n")
        stream.flush()
    except (OSError, ValueError):  # full or gone, or closed
        _send_nowhere(stream)


def message_lines(text: str, width: int | None = None) -> str:
    """Return a message as it is printed: every line but the first is indented, and wrapped for a terminal's width."""
    first, *others = map(visible_line, text.split("\n"))
    lines = [first, *(line if line.startswith("  ") else f"  {line}" for line in others)]
    return "\n".join(lines if width is None else [part for line in lines for part in wrapped(line, width)])


def _send_nowhere(stream: TextIO) -> None:
    """Let a stream end in nothing. Without this, Python complains about it again when it ends."""
    try:
        number = stream.fileno()
    except (OSError, ValueError):  # a stream in memory
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, number)
    os.close(nowhere)
