"""Run the steps of a sweep, many at a time: skip what is finished, go on past what fails.

Artifacts appear whole or not at all, so a sweep that was killed repeats only the steps that were under way.
"""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from typing import Literal

from golfpipe.errors import GolfpipeError
from golfpipe.jobs.key import is_intact
from golfpipe.store.artifact import try_open
from golfpipe.sweeps.chains import SweepStep
from golfpipe.sweeps.plan import SweepPlan
from golfpipe.sweeps.work import Report, prepare_step
from golfpipe.sweeps.workers import JobDied, Reports, Workers

StepState = Literal["waiting", "running", "up to date", "done", "failed"]
FINISHED: tuple[StepState, ...] = ("up to date", "done", "failed")
WAIT_SECONDS = 0.5
"""Seconds between two looks at the running steps, so few that a live table moves."""


@dataclass
class StepRun:
    """What became of one step."""

    step: SweepStep
    state: StepState = "waiting"
    error: str | None = None
    hint: str | None = None
    began: float = 0.0
    """The value of time.monotonic() when the step was handed to a process."""
    alone: bool = True
    """True if no other step was in a process at the same time."""


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
        """Return the state of the cell: that of its worst step, or else of its latest."""
        states = [step.state for step in self.of_cell(index)]
        for state in ("failed", "running", "waiting"):
            if state in states:
                return state
        return "done" if "done" in states else "up to date"


def run_sweep(plan: SweepPlan, workers: Workers, on_change: Callable[[SweepRun], None]) -> SweepRun:
    """Bring every step up to date. `on_change` is called often, and after every step.

    A failed step is noted, and the others go on. Raises KeyboardInterrupt after an interrupt, once the processes are
    stopped. The caller holds the lock of the folder.
    """
    run = SweepRun(plan)
    with workers:
        scheduler = _Scheduler(run, workers)
        while scheduler.advance():
            on_change(run)
        on_change(run)
    return run


def inspect_sweep(plan: SweepPlan) -> SweepRun:
    """Return the state that `run_sweep` would begin with: steps up to date or waiting. Writes nothing."""
    run = SweepRun(plan)
    for identity, step in plan.steps.items():
        ready = step.parent is None or run.steps[step.parent].state == "up to date"
        if ready:
            _look(run.steps[identity])
    return run


class _Scheduler:
    """Hands steps to the workers as soon as the steps that they read are finished."""

    def __init__(self, run: SweepRun, workers: Workers) -> None:
        self.run, self.workers = run, workers
        self.waiting = dict.fromkeys(run.plan.steps)
        """The steps not yet started, in the order of the cells, so that the first cells are finished first."""
        self.flying: dict[Reports, list[StepRun]] = {}
        self.suspects: deque[list[StepRun]] = deque()
        """Chains under way when a process died. They run again one by one, to find which killed it."""
        self.readers: dict[str | None, list[str]] = defaultdict(list)
        for identity, step in run.plan.steps.items():
            self.readers[step.parent].append(identity)
        self.said: set[str] = set()

    def advance(self) -> bool:
        """Start what can start, then wait a little for results. Return False once nothing is left to do."""
        self._submit(self._ready())
        for future in self.workers.wait(list(self.flying), WAIT_SECONDS) if self.flying else ():
            self._take(future, self.flying.pop(future))
        return bool(self.flying or self.waiting or self.suspects)

    def _ready(self) -> list[list[StepRun]]:
        if self.suspects:
            return [] if self.flying else [self.suspects.popleft()]
        chains: list[list[StepRun]] = []
        for identity in list(self.waiting):
            if len(self.flying) + len(chains) >= self.workers.at_once:
                break
            if identity not in self.waiting:  # it has gone along with the step that it reads
                continue
            step = self.run.steps[identity]
            parent = self.run.steps[step.step.parent] if step.step.parent is not None else None
            if parent is not None and parent.state not in FINISHED:
                continue
            del self.waiting[identity]
            if parent is not None and parent.state == "failed":
                _fail_after(step, parent)
            elif _look(step) == "waiting":
                chains.append(self._chain(identity))
        return chains

    def _chain(self, identity: str) -> list[StepRun]:
        chain = [self.run.steps[identity]]
        while self.workers.takes_chains and len(readers := self.readers[chain[-1].step.id]) == 1:
            del self.waiting[readers[0]]
            chain.append(self.run.steps[readers[0]])
        for step in chain:
            step.state = "running"
        return chain

    def _submit(self, chains: list[list[StepRun]]) -> None:
        if not chains:
            return
        alone = not self.flying and len(chains) == 1
        for step in (step for chain in (*self.flying.values(), *chains) for step in chain):
            step.alone = alone
        for step in (step for chain in chains for step in chain):
            step.state, step.began = "running", time.monotonic()
        futures = self.workers.submit([[step.step.request for step in chain] for chain in chains])
        self.flying |= dict(zip(futures, chains, strict=True))

    def _take(self, future: Reports, chain: list[StepRun]) -> None:
        try:
            self._note(chain, future.result())
        except JobDied as died:
            self._settle_after_death(chain, died.message, died.hint)
        except BrokenProcessPool:
            if chain[0].alone:
                hint = "out of memory, perhaps: fewer processes with -j"
                self._settle_after_death(chain, "its process died", hint)
            else:
                self.suspects.append(chain)
                for step in chain:
                    step.state = "waiting"

    def _note(self, chain: list[StepRun], reports: Sequence[Report]) -> None:
        for step, report in zip(chain, reports, strict=False):
            for warning in report.warnings:
                if warning not in self.said:  # say it once, however many cells have it
                    self.said.add(warning)
                    self.run.plan.reporter.warn(warning)
            step.state = "failed" if report.error is not None else "up to date" if report.up_to_date else "done"
            step.error, step.hint = report.error, report.hint
        _fail_rest(chain, len(reports))

    def _settle_after_death(self, chain: list[StepRun], error: str, hint: str) -> None:
        """Take the chain's finished steps as done, and the first one that is not there as the one that died."""
        for number, step in enumerate(chain):
            step.state = "waiting"
            if _look(step) != "up to date":
                step.state, step.error, step.hint = "failed", error, hint
                _fail_rest(chain, number + 1)
                return
            step.state = "done"


def _fail_rest(chain: list[StepRun], first: int) -> None:
    for number in range(first, len(chain)):
        _fail_after(chain[number], chain[number - 1])


def _fail_after(step: StepRun, parent: StepRun) -> None:
    step.state, step.error = "failed", f"{parent.step.request.stage} before it failed: {parent.error}"


def _look(step: StepRun) -> StepState:
    """Settle a step that is up to date or impossible, and return its state. Other steps stay waiting."""
    try:
        job = prepare_step(step.step.request)
    except GolfpipeError as error:
        step.state, step.error, step.hint = "failed", error.message, error.hint
        return step.state
    existing = try_open(job.out)
    if existing is not None and existing.manifest.key == job.key and not job.context.force and is_intact(existing):
        step.state = "up to date"
    return step.state
