"""Where the steps of a sweep run: processes of this machine, or elsewhere through the same few methods."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context, parent_process
from typing import Any, Literal, Protocol

from golfpipe.errors import UsageError
from golfpipe.pipeline.single import Request
from golfpipe.pipeline.sweep import DEFAULT_THREADS, SweepPlan
from golfpipe.pipeline.sweep_work import THREAD_VARIABLES, Report, run_steps
from golfpipe.stages.base import cpu_count

ExecutorName = Literal["local", "slurm"]
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


def make_workers(
    plan: SweepPlan,
    *,
    executor: ExecutorName = "local",
    jobs: int | None = None,
    slurm: Mapping[str, str] | None = None,
) -> Workers:
    """Workers for the plan. `jobs`: most chains at a time; `slurm`: options of sbatch. Raises UsageError."""
    threads = next((step.request.context.threads for step in plan.steps.values()), None) or DEFAULT_THREADS
    if executor == "slurm":
        from golfpipe.pipeline.sweep_slurm import SlurmWorkers

        return SlurmWorkers(plan.folder, threads=threads, jobs=jobs, options=slurm or {})
    if slurm:
        raise UsageError(f"--slurm {next(iter(slurm))}=...: only for --executor slurm")
    return ProcessWorkers(jobs or max(1, cpu_count() // threads), threads)


class ProcessWorkers:
    """A pool of processes that is made when the first step needs it, and ends at once on an interrupt."""

    takes_chains = False

    def __init__(self, jobs: int, threads: int) -> None:
        self.at_once, self.threads = jobs, threads
        self.pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> ProcessWorkers:
        return self

    def __exit__(self, kind: Any, *rest: object) -> None:
        if self.pool is None:
            return
        if kind is not None:
            for process in list((self.pool._processes or {}).values()):
                process.terminate()
        self.pool.shutdown(wait=True, cancel_futures=True)

    def submit(self, chains: Sequence[Sequence[Request]]) -> list[Reports]:
        return [self._submit(chain) for chain in chains]

    def wait(self, futures: Collection[Reports], seconds: float) -> set[Reports]:
        return wait(futures, timeout=seconds, return_when=FIRST_COMPLETED).done

    def _submit(self, chain: Sequence[Request]) -> Reports:
        if self.pool is None:
            self.pool = ProcessPoolExecutor(
                self.at_once, mp_context=get_context("spawn"), initializer=_begin_worker, initargs=(self.threads,)
            )
        with _thread_variables(self.threads):  # read by libraries as they load, so before a process starts
            try:
                return self.pool.submit(run_steps, chain)
            except BrokenProcessPool:
                self.pool.shutdown(wait=False, cancel_futures=True)
                self.pool = None
                return self._submit(chain)


def _begin_worker(threads: int) -> None:
    # Ctrl-C reaches the whole group of processes; the one that the user started decides what to do.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(threads)))
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A parent that was killed cannot stop its workers, and a worker that goes on holds its output."""
    parent = parent_process()
    while parent is not None and parent.is_alive():
        time.sleep(1.0)
    os._exit(1)


@contextmanager
def _thread_variables(threads: int) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(threads)))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
