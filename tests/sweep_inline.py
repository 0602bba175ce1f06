"""The steps of a sweep at once, in the test's own process, whatever the executor."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from typing import Any

import pytest

from golfpipe.sweeps import processes, slurm


class InlinePool:
    """Runs at once, in this process. `dies_at`: indices of the calls at which its process would die."""

    calls = 0
    dies_at: frozenset[int] = frozenset()

    def __init__(self, *args: object, **options: object) -> None:
        self._processes: dict[int, Any] = {}

    def submit(self, function: Callable[..., Any], *args: Any) -> Future[Any]:
        future: Future[Any] = Future()
        number = InlinePool.calls
        InlinePool.calls += 1
        if number in self.dies_at:
            future.set_exception(BrokenProcessPool("died"))
        else:
            future.set_result(function(*args))
        return future

    def shutdown(self, **options: object) -> None:
        pass


def _result(job: Any) -> Any:
    """What a task sends back; SystemExit stands for its death."""
    from submitit.core.utils import UncompletedJobError

    try:
        return job._submission.result()
    except SystemExit as exit_:
        raise UncompletedJobError("has not produced any output") from exit_


def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """For the rest of the test. submitit has an executor for it, whose jobs leave log files open."""
    monkeypatch.setattr(processes, "ProcessPoolExecutor", InlinePool)
    monkeypatch.setattr(InlinePool, "calls", 0)
    monkeypatch.setitem(slurm.SlurmWorkers.__init__.__kwdefaults__, "cluster", "debug")
    monkeypatch.setitem(slurm.POLL_SECONDS, "debug", 0.0)
    monkeypatch.setattr("submitit.local.debug.DebugJob.done", lambda job, force_check=False: True)
    monkeypatch.setattr("submitit.local.debug.DebugJob.result", _result)
