"""How a running stage reports progress, notes and warnings. The command line prints them; the API may stay silent."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


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
