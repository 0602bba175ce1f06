"""Run a sweep's steps in processes of this machine."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context, parent_process
from typing import Any

from golfpipe.pipeline.single import Request
from golfpipe.sweeps.work import THREAD_VARIABLES, run_steps
from golfpipe.sweeps.workers import Reports


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
        # libraries read them as they load, so they are set before a process starts
        with _thread_variables(self.threads):
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
    """End this worker when its parent is gone. A parent that was killed cannot stop its workers, and a worker that goes
    on holds the lock of its output."""
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
