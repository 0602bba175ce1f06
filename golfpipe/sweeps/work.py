"""The work of a sweep's process: some steps, one after the other, wherever it runs."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from golfpipe.errors import Busy, GolfpipeError
from golfpipe.jobs.job import Job
from golfpipe.jobs.run import run_job
from golfpipe.pipeline.single import Request, prepare
from golfpipe.pipeline.training import prepare_training
from golfpipe.reporter import SilentTask
from golfpipe.sweeps.words import step_words

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
BUSY_SECONDS = 1.0
"""Seconds between two tries where a process of an earlier sweep, killed meanwhile, still holds the output."""


@dataclass(frozen=True)
class Report:
    """What a process sends back about one step. It must be possible to pickle it."""

    error: str | None = None
    hint: str | None = None
    up_to_date: bool = False
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


def prepare_step(request: Request) -> Job:
    """Return the job that the request of a step means. Raises what `prepare` raises."""
    return prepare_training(request, None) if request.stage == "train" else prepare(request)


def run_steps(requests: Sequence[Request]) -> list[Report]:
    """Run steps of which each reads the one before; return reports up to the first failure, errors as text."""
    reports: list[Report] = []
    for request in requests:
        reports.append(_run_step(request))
        if reports[-1].error is not None:
            break
    return reports


def _run_step(request: Request) -> Report:
    said = _Warnings()
    context = replace(request.context, argv=tuple(step_words(request)[1:]), reporter=said)
    try:
        up_to_date = _run_when_free(replace(request, context=context))
    except GolfpipeError as error:
        return Report(error.message, error.hint, warnings=tuple(said.warnings))
    except Exception as error:  # a bug, or a lack of memory, in one cell must not end the others
        text = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        return Report(text, warnings=tuple(said.warnings))
    return Report(up_to_date=up_to_date, warnings=tuple(said.warnings))


def _run_when_free(request: Request) -> bool:
    while True:
        try:
            return run_job(prepare_step(request)).up_to_date
        except Busy:
            time.sleep(BUSY_SECONDS)
