"""Experiment trackers: TensorBoard, trackio or wandb receive what training writes to log.jsonl (`train.track`).

They are optional packages and are imported only where they are asked for. A tracker that fails is left out from then
on, so that nobody loses a run because of it.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from golfpipe.config.schema import plain_config
from golfpipe.jobs.job import Job

PROJECT = "golfpipe"
"""The name under which trackio and wandb collect the runs."""
TENSORBOARD = "tensorboard"
"""The folder beside the artifact for TensorBoard's event files; `tensorboard --logdir artifacts` finds it."""

Record = Mapping[str, Any]
"""One line of log.jsonl."""


class Tracker(Protocol):
    """A place for numbers by name and step."""

    place: str
    """Where to look at them, in words."""

    def log(self, values: Mapping[str, float], step: int) -> None: ...

    def close(self) -> None: ...


@contextmanager
def tracking(job: Job, steps_done: int) -> Iterator[Callable[[Sequence[Record]], None]]:
    """Yield a function that takes the records of log.jsonl. `steps_done`: where a run goes on, or 0."""
    opener, processes = _OPENERS.get(job.config.train.track), job.context.processes
    if opener is None or (processes is not None and processes.rank > 0):  # only the first of many processes tracks
        yield lambda records: None
        return
    forwarder = _Forwarder(job, steps_done, opener)
    try:
        yield forwarder.take
    finally:
        forwarder.close()


class _Forwarder:
    """Passes the log's records to a tracker, which may fail at any time."""

    def __init__(self, job: Job, steps_done: int, opener: Callable[[Job, int], Tracker]) -> None:
        self.warn, self.name = job.context.reporter.warn, job.config.train.track
        self.step = steps_done
        self.tracker: Tracker | None = None
        with self._guarded():
            self.tracker = opener(job, steps_done)
            job.context.reporter.note(f"{self.name}: {self.tracker.place}")

    def take(self, records: Sequence[Record]) -> None:
        with self._guarded():
            for record in records:
                self.step = record.get("step", self.step)
                if self.tracker is not None and (values := _numbers(record)):
                    self.tracker.log(values, self.step)

    def close(self) -> None:
        with self._guarded():
            if self.tracker is not None:
                self.tracker.close()

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            with contextlib.redirect_stdout(io.StringIO()):  # trackio prints, and stdout is for results
                yield
        except Exception as error:  # an error of the tracker, whatever it is
            self.tracker = None
            self.warn(f"{self.name} failed and is left out from here on: {' '.join(str(error).split())[:200]}")


def _numbers(record: Record) -> dict[str, float]:
    """Return a line's numbers but the step: {'step/lr_factor': 0.5} for {'type': 'step', 'lr_factor': 0.5}."""
    kind = record["type"]
    return {
        f"{kind}/{name}": value
        for name, value in record.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and name != "step"
    }


class _TensorBoard:
    def __init__(self, job: Job, steps_done: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        folder: Path = job.out.parent / TENSORBOARD / job.out.name
        if steps_done == 0:
            shutil.rmtree(folder, ignore_errors=True)
        # The interrupted run may have logged steps after its checkpoint; they happen again.
        self.writer = SummaryWriter(str(folder), purge_step=steps_done + 1 if steps_done else None)
        self.place = f"tensorboard --logdir {folder}"

    def log(self, values: Mapping[str, float], step: int) -> None:
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)

    def close(self) -> None:
        self.writer.close()


class _Trackio:
    def __init__(self, job: Job, steps_done: int) -> None:
        import trackio

        self.trackio = trackio
        name = _run_name(job)
        trackio.init(
            project=PROJECT,
            name=name,
            config=plain_config(job.config),
            resume="allow" if steps_done else "never",
            embed=False,
            auto_log_cpu=False,
            auto_log_gpu=False,
        )
        self.place = f"trackio show --project {PROJECT}, run {name}"

    def log(self, values: Mapping[str, float], step: int) -> None:
        self.trackio.log(dict(values), step=step)

    def close(self) -> None:
        self.trackio.finish()


class _Wandb:
    def __init__(self, job: Job, steps_done: int) -> None:
        import wandb

        # Without an account wandb would ask for one in the middle of a run; its files can be sent later.
        offline = "WANDB_MODE" not in os.environ and not wandb.login(prompt=False)
        identity = hashlib.sha256(f"{job.key} {job.out.resolve()}".encode()).hexdigest()[:16]
        self.run = wandb.init(
            project=PROJECT,
            name=_run_name(job),
            id=identity,  # by which a training that is resumed finds its run
            resume="allow" if steps_done else None,  # None begins the run anew
            dir=str(job.out.parent),
            config=plain_config(job.config),
            mode="offline" if offline else None,
            settings=wandb.Settings(console="off", silent=True, disable_git=True),  # the terminal is golfpipe's
        )
        self.place = f"wandb sync {Path(self.run.dir).parent}" if self.run.offline else str(self.run.url)

    def log(self, values: Mapping[str, float], step: int) -> None:
        self.run.log(dict(values), step=step)

    def close(self) -> None:
        self.run.finish()


def _run_name(job: Job) -> str:
    return f"{job.out.resolve().parent.name}-{job.key[:8]}"


_OPENERS: dict[str, Callable[[Job, int], Tracker]] = {
    "tensorboard": _TensorBoard,
    "trackio": _Trackio,
    "wandb": _Wandb,
}
