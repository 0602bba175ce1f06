"""Whether other processes use the cores: how long this process's threads stand ready and have none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

_TASKS = Path("/proc/self/task")
LOOK_SECONDS = 3.0
"""The seconds of work after which a machine is judged."""
BUSY_SHARE = 0.2
"""The share of its threads' time spent waiting for a core above which a machine is busy. On a quiet one it is below
0.02; with one more thread than there are cores it is above a quarter."""


@dataclass(frozen=True, slots=True)
class CoreTime:
    """The seconds that this process's threads have run, and have stood ready without a core, together."""

    ran: float
    waited: float


def core_time(tasks: Path = _TASKS) -> CoreTime | None:
    """Return the times so far, from Linux's schedstat; None where the system does not keep them.

    https://docs.kernel.org/scheduler/sched-stats.html: nanoseconds on a core, nanoseconds waiting for one, slices.
    """
    ran = waited = 0
    try:
        for path in tasks.iterdir():
            on_core, ready, _ = (path / "schedstat").read_text(encoding="ascii").split()
            ran, waited = ran + int(on_core), waited + int(ready)
    except (OSError, ValueError):  # another system, or a thread that ended meanwhile
        return None
    return CoreTime(ran / 1e9, waited / 1e9)


class CoreWatch:
    """Looks once, after the first LOOK_SECONDS of a piece of work, whether its threads had the cores."""

    def __init__(self, threads: int, read: Callable[[], CoreTime | None] = core_time) -> None:
        self.threads, self._read = threads, read
        self._start = read() if threads > 1 else None  # one thread waits for no other

    def warning(self, seconds: float) -> str | None:
        """Say that the machine is busy, where it is and `seconds` of the work are enough to know; otherwise None."""
        if self._start is None or seconds < LOOK_SECONDS:
            return None
        start, now, self._start = self._start, self._read(), None
        if now is None:
            return None
        ran, waited = now.ran - start.ran, now.waited - start.waited
        if ran + waited <= 0 or waited / (ran + waited) <= BUSY_SHARE:
            return None
        return (
            f"other processes use the cores: the {self.threads} threads here spent {waited / (ran + waited):.0%} of"
            " their time waiting for one. --threads 1 leaves the others more, and may be faster"
        )
