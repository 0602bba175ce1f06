"""Running the steps of a sweep in parallel processes: skip what is finished, go on past what fails.

Artifacts appear whole or not at all, so a sweep that is killed redoes only the steps that were in flight.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from multiprocessing import get_context, parent_process
from typing import Any, Literal

from golfpipe.errors import GolfpipeError
from golfpipe.pipeline.single import Request, prepare
from golfpipe.pipeline.sweep import SweepPlan, SweepStep, step_words
from golfpipe.stages.base import is_intact, run_job
from golfpipe.stages.reporter import SilentTask
from golfpipe.store.artifact import try_open
from golfpipe.store.lock import output_lock

StepState = Literal["waiting", "running", "up to date", "done", "failed"]
FINISHED: tuple[StepState, ...] = ("up to date", "done", "failed")
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
WAIT_SECONDS = 0.5
"""Between two looks at the running steps, so that a live table moves."""


@dataclass
class StepRun:
    """What became of one step."""

    step: SweepStep
    state: StepState = "waiting"
    error: str | None = None
    hint: str | None = None
    began: float = 0.0
    """time.monotonic() when it was handed to a process."""
    alone: bool = True
    """No other step was in a process at the same time."""


@dataclass
class SweepRun:
    """The state of a running or finished sweep."""

    plan: SweepPlan
    steps: dict[str, StepRun] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.steps = {identity: StepRun(step) for identity, step in self.plan.steps.items()}

    def of_cell(self, index: int) -> list[StepRun]:
        return [self.steps[identity] for identity in self.plan.cells[index].steps]

    def cell_state(self, index: int) -> StepState:
        """That of the cell's worst or latest step."""
        states = [step.state for step in self.of_cell(index)]
        for state in ("failed", "running", "waiting"):
            if state in states:
                return state
        return "done" if "done" in states else "up to date"

    @property
    def is_complete(self) -> bool:
        return all(step.state in FINISHED for step in self.steps.values())


def run_sweep(plan: SweepPlan, *, jobs: int, on_change: Callable[[SweepRun], None]) -> SweepRun:
    """Bring every step up to date, at most `jobs` at a time. `on_change` hears often, and after every step.

    A failed step is noted and the others go on. Raises Busy where another sweep works in the folder, and
    KeyboardInterrupt after stopping the processes.
    """
    run = SweepRun(plan)
    with output_lock(plan.folder), _Workers(jobs, plan) as workers:
        scheduler = _Scheduler(run, workers, jobs)
        while scheduler.advance():
            on_change(run)
        on_change(run)
    return run


def inspect_sweep(plan: SweepPlan) -> SweepRun:
    """What `run_sweep` would find: steps that are up to date, and others waiting. Writes nothing."""
    run = SweepRun(plan)
    for identity, step in plan.steps.items():
        ready = step.parent is None or run.steps[step.parent].state == "up to date"
        if ready:
            _look(run.steps[identity])
    return run


class _Scheduler:
    """Hands steps to the workers as soon as the steps that they read are finished."""

    def __init__(self, run: SweepRun, workers: _Workers, jobs: int) -> None:
        self.run, self.workers, self.jobs = run, workers, jobs
        self.waiting = dict.fromkeys(run.plan.steps)
        """In the order of the cells, so that the first ones are finished first."""
        self.flying: dict[Future[_Report], str] = {}
        self.suspects: deque[str] = deque()
        """Steps in flight when a process died. They run again one at a time, to find which of them killed it."""

    def advance(self) -> bool:
        """Start what can start, then wait a little for results. False once there is nothing left to do."""
        self._start_ready()
        if not self.flying:
            return bool(self.waiting or self.suspects)
        finished, _ = wait(self.flying, timeout=WAIT_SECONDS, return_when=FIRST_COMPLETED)
        for future in finished:
            self._take(future, self.flying.pop(future))
        return bool(self.flying or self.waiting or self.suspects)

    def _start_ready(self) -> None:
        if self.suspects:
            if not self.flying:
                self._submit(self.suspects.popleft())
            return
        for identity in list(self.waiting):
            if len(self.flying) >= self.jobs:
                return
            step = self.run.steps[identity]
            parent = self.run.steps[step.step.parent] if step.step.parent is not None else None
            if parent is not None and parent.state not in FINISHED:
                continue
            del self.waiting[identity]
            if parent is not None and parent.state == "failed":
                step.state, step.error = "failed", f"{parent.step.request.stage} before it failed: {parent.error}"
            elif _look(step) == "waiting":
                self._submit(identity)

    def _submit(self, identity: str) -> None:
        step = self.run.steps[identity]
        step.state, step.began, step.alone = "running", time.monotonic(), not self.flying
        for other in self.flying.values():
            self.run.steps[other].alone = False
        self.flying[self.workers.submit(step.step.request)] = identity

    def _take(self, future: Future[_Report], identity: str) -> None:
        step = self.run.steps[identity]
        try:
            report = future.result()
        except BrokenProcessPool:
            self._process_died(step, identity)
            return
        for warning in report.warnings:
            self.workers.warn(warning)
        step.state = "done" if report.error is None else "failed"
        step.error, step.hint = report.error, report.hint

    def _process_died(self, step: StepRun, identity: str) -> None:
        self.workers.restart()
        if step.alone:
            step.state, step.error = "failed", "its process died"
            step.hint = "out of memory, perhaps: fewer processes with -j"
        else:
            step.state = "waiting"
            self.suspects.append(identity)


class _Workers:
    """A pool of processes that is made when the first step needs it, and ends at once on an interrupt."""

    def __init__(self, jobs: int, plan: SweepPlan) -> None:
        self.jobs, self.plan = jobs, plan
        self.pool: ProcessPoolExecutor | None = None
        self._said: set[str] = set()

    def __enter__(self) -> _Workers:
        return self

    def __exit__(self, kind: Any, *rest: object) -> None:
        if self.pool is None:
            return
        if kind is not None:
            for process in list((self.pool._processes or {}).values()):
                process.terminate()
        self.pool.shutdown(wait=True, cancel_futures=True)

    def submit(self, request: Request) -> Future[_Report]:
        context = request.context
        request = replace(request, context=replace(context, argv=tuple(step_words(request)[1:]), reporter=_Warnings()))
        if self.pool is None:
            self.pool = ProcessPoolExecutor(
                self.jobs, mp_context=get_context("spawn"), initializer=_begin_worker, initargs=(context.threads,)
            )
        with _thread_variables(context.threads):  # read by libraries as they load, so before a process starts
            try:
                return self.pool.submit(_run_step, request)
            except BrokenProcessPool:
                self.restart()
                return self.submit(request)

    def restart(self) -> None:
        if self.pool is not None:
            self.pool.shutdown(wait=False, cancel_futures=True)
        self.pool = None

    def warn(self, text: str) -> None:
        """Each warning once, however many cells have it."""
        if text not in self._said:
            self._said.add(text)
            self.plan.reporter.warn(text)


@dataclass(frozen=True)
class _Report:
    """What a process sends back: it must pickle."""

    error: str | None = None
    hint: str | None = None
    warnings: tuple[str, ...] = ()


@dataclass
class _Warnings:
    """A reporter that keeps the warnings for the process that started this one."""

    warnings: list[str] = field(default_factory=list)

    @contextmanager
    def task(self, label: str, total: float, unit: str) -> Iterator[SilentTask]:
        yield SilentTask()

    def note(self, text: str) -> None:
        pass

    def warn(self, text: str) -> None:
        self.warnings.append(text)


def _run_step(request: Request) -> _Report:
    """In a worker: one step. Errors come back as text, whatever they are."""
    reporter = request.context.reporter
    warnings = reporter.warnings if isinstance(reporter, _Warnings) else []
    try:
        run_job(prepare(request))
    except GolfpipeError as error:
        return _Report(error.message, error.hint, tuple(warnings))
    except Exception as error:  # a bug, or memory, in one cell must not end the others
        return _Report(f"{type(error).__name__}: {' '.join(str(error).split())[:300]}", None, tuple(warnings))
    return _Report(warnings=tuple(warnings))


def _look(step: StepRun) -> StepState:
    """Settle a step without work: up to date, or impossible. Others stay waiting."""
    try:
        job = prepare(step.step.request)
    except GolfpipeError as error:
        step.state, step.error, step.hint = "failed", error.message, error.hint
        return step.state
    existing = try_open(job.out)
    if existing is not None and existing.manifest.key == job.key and not job.context.force and is_intact(existing):
        step.state = "up to date"
    return step.state


def _begin_worker(threads: int | None) -> None:
    # Ctrl-C reaches the whole group of processes; the one that the user started decides what to do.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if threads is not None:
        os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(threads)))
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A parent that was killed cannot stop its workers, and a worker that goes on holds its output."""
    parent = parent_process()
    while parent is not None and parent.is_alive():
        time.sleep(1.0)
    os._exit(1)


@contextmanager
def _thread_variables(threads: int | None) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in THREAD_VARIABLES}
    if threads is not None:
        os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(threads)))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
