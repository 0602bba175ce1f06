"""What a sweep expects of the workers that do its steps, wherever they run."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from concurrent.futures import Future
from typing import Any, Protocol

from golfpipe.pipeline.single import Request
from golfpipe.sweeps.work import Report

Reports = Future[list[Report]]


class JobDied(Exception):
    """The exception of a future whose process ended without a message, where no other process can be the cause."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.message, self.hint = message, hint


class Workers(Protocol):
    """Does chains of steps. A future raises JobDied, or BrokenProcessPool where every process ended at once."""

    at_once: int
    """The most chains to hand over at a time."""
    takes_chains: bool
    """True if a step should go together with the only step that reads it, because starting a process is costly."""

    def __enter__(self) -> Workers: ...

    def __exit__(self, kind: Any, *rest: object) -> None:
        """End what is still running, if an exception came."""

    def submit(self, chains: Sequence[Sequence[Request]]) -> list[Reports]: ...

    def wait(self, futures: Collection[Reports], seconds: float) -> set[Reports]:
        """Return the futures that are finished, as soon as there is one; none if there is none after that time."""
