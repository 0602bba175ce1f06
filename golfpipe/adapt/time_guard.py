"""Seconds that are not to be exceeded: whether another batch of documents can still be learned from."""

from __future__ import annotations

import time
from collections.abc import Callable

from golfpipe.optim.process_group import ProcessGroup

MARGIN = 1.25
"""What a batch may take times what the one before leads to expect."""


class TimeGuard:
    """Learning ends before the first batch with which, by the rate so far, scoring would take more than `seconds`.

    A rate is in seconds per token that is learned from. The other documents are scored at that rate at worst, for their
    tokens pass through the network once and forward only. `first_rate` measures a rate before there is one.
    """

    def __init__(self, seconds: float, processes: ProcessGroup, first_rate: Callable[[], float]) -> None:
        self.seconds, self.processes = seconds, processes
        self._started = time.perf_counter()
        self._rate = first_rate() if seconds > 0 else 0.0

    def allows(self, number: int, batch_tokens: int, other_tokens: int) -> bool:
        """Return True if batch `number` can be learned from. Whenever each process begins another batch, all decide by
        the clock of the first."""
        if self.seconds == 0 or number % self.processes.size:
            return True
        expected = time.perf_counter() - self._started + MARGIN * self._rate * (batch_tokens + other_tokens)
        return self.processes.first(expected <= self.seconds)

    def measured(self, batch_tokens: int, seconds: float) -> None:
        """Take the rate of the latest batch, since batches of shorter documents are slower."""
        self._rate = seconds / batch_tokens
