"""How a running stage speaks: progress, notes and warnings. The command line draws them; the API may stay silent."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class Task(Protocol):
    """One bar of progress."""

    def advance(self, amount: float, note: str = "") -> None:
        """Add `amount` units; `note` replaces the text behind the bar."""


class Reporter(Protocol):
    """Receives what a stage has to say while it works."""

    def task(self, label: str, total: float, unit: str) -> _TaskContext:
        """A context manager that yields a Task."""

    def note(self, text: str) -> None:
        """A line of information."""

    def warn(self, text: str) -> None:
        """Something the user should know; the stage goes on."""


class _TaskContext(Protocol):
    def __enter__(self) -> Task: ...

    def __exit__(self, *details: object) -> bool | None: ...


class SilentTask:
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
