"""How a running stage reports progress, notes and warnings. The command line prints them; the API may stay silent."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from golfpipe.errors import GolfpipeError


class Task(Protocol):
    """One bar of progress."""

    def advance(self, amount: float, note: str = "") -> None:
        """Add `amount` units. A `note` that is not empty replaces the text behind the bar."""


class Reporter(Protocol):
    """Receives what a stage reports while it works."""

    def task(self, label: str, total: float, unit: str) -> AbstractContextManager[Task]:
        """Return a context in which there is a bar of `total` units (0: not known)."""

    def note(self, text: str) -> None:
        """Take a line of information."""

    def warn(self, text: str) -> None:
        """Take a warning: something that the user should know, after which the stage goes on."""


@contextmanager
def beside_finished_work(reporter: Reporter, what: str) -> Iterator[None]:
    """Turn any failure inside the `with` block into a warning. What is made there only accompanies work that is done,
    and must not decide how that work ends."""
    try:
        yield
    except Exception as error:  # whatever it is, it is not the work's
        reporter.warn(f"{what} was not made: {failure_text(error)}")


def failure_text(error: Exception) -> str:
    """Return an error in one line of at most 200 characters, as 'ValueError: alpha must be between 0 and 1'."""
    text = " ".join(str(error).split())
    return (text if isinstance(error, GolfpipeError) else f"{type(error).__name__}: {text}")[:200]


class SilentTask:
    """A task that draws nothing."""

    def advance(self, amount: float, note: str = "") -> None:
        pass


class SilentReporter:
    """A reporter that prints nothing."""

    @contextmanager
    def task(self, label: str, total: float, unit: str) -> Iterator[Task]:
        yield SilentTask()

    def note(self, text: str) -> None:
        pass

    def warn(self, text: str) -> None:
        pass
