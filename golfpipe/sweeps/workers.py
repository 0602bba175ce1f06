"""What a sweep asks of those who do its steps, wherever they run."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from concurrent.futures import Future
from typing import Any, Protocol

from golfpipe.pipeline.single import Request
from golfpipe.sweeps.work import Report

Reports = Future[list[Report]]


class JobDied(Exception):
    """Of a future: its process ended without a word, and no other one's fault is possible."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.message, self.hint = message, hint


class Workers(Protocol):
    """Does chains of steps. A future raises JobDied, or BrokenProcessPool where every process ended at once."""

    at_once: int
    """Most chains to hand over at a time."""
    takes_chains: bool
    """Whether a step goes together with the only one that reads it, where starting a process is dear."""

    def __enter__(self) -> Workers: ...

    def __exit__(self, kind: Any, *rest: object) -> None:
        """Ends what is still running, where an exception came."""

    def submit(self, chains: Sequence[Sequence[Request]]) -> list[Reports]: ...

    def wait(self, futures: Collection[Reports], seconds: float) -> set[Reports]:
        """Those that are finished, as soon as there is one, or none after that time."""
