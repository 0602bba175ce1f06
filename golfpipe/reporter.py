"""How a running stage speaks: progress, notes and warnings. The command line draws them; the API may stay silent."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class Task(Protocol):
    """One bar of progress."""

    def advance(self, amount: float, note: str = "") -> None:
        """Add `amount` units; a `note` that is not empty replaces the text behind the bar."""


class Reporter(Protocol):
    """Receives what a stage has to say while it works."""

    def task(self, label: str, total: float, unit: str) -> AbstractContextManager[Task]:
        """A bar of `total` units (0: not known) for the time of the `with` block."""

    def note(self, text: str) -> None:
        """A line of information."""

    def warn(self, text: str) -> None:
        """Something the user should know; the stage goes on."""


class SilentTask:
    """Draws nothing."""

    def advance(self, amount: float, note: str = "") -> None:
        pass


class SilentReporter:
    """Says nothing."""

    @contextmanager
    def task(self, label: str, total: float, unit: str) -> Iterator[Task]:
        yield SilentTask()

    def note(self, text: str) -> None:
        pass

    def warn(self, text: str) -> None:
        pass
