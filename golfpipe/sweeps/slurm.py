"""A sweep's steps as job arrays of a Slurm cluster, submitted with submitit.

Steps that are ready together go as one array: first the steps that several cells share, then the cells. The command
that submits them stays, watches them, and cancels them when it is interrupted. If it is killed, they run to their end,
and the same command finds what they made.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from golfpipe.errors import ConfigError, StageFailed, UsageError
from golfpipe.extras import require
from golfpipe.pipeline.single import Request
from golfpipe.sweeps.work import THREAD_VARIABLES, Report, run_steps
from golfpipe.sweeps.workers import JobDied, Reports

JOBS_FOLDER = "slurm"
"""The folder in the sweep's with submitit's files and tasks' logs; removed where all ended well."""
ARRAY_TASKS = 256
"""The most tasks in the queue at a time, without -j."""
DEFAULT_MINUTES = 120
"""The time limit of a task, without --slurm time=..."""
SHARED_NAMES = {"cpus_per_task": int, "gpus_per_node": int, "nodes": int}
"""Options of sbatch that submitit knows for every executor, with their types. It passes all others on to sbatch."""
POLL_SECONDS = {"slurm": 2.0, "local": 0.1}
QUEUE_SECONDS = 10.0
"""Seconds between two looks at the queue."""
GRACE_SECONDS = 15.0
"""Seconds to wait for the result of a task that has left the queue: network folders show files late."""


def parse_slurm_options(texts: Sequence[str]) -> dict[str, str]:
    """Read options of sbatch, by their long names, from texts 'key=value'. Raises ConfigError."""
    options: dict[str, str] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        name = key.strip().lstrip("-").replace("-", "_")
        if not equals or not name or not value.strip():
            raise ConfigError(f"--slurm {text!r}: expected key=value, e.g. partition=gpu or time=2:00:00")
        options[name] = value.strip()
    return options


def submitit_parameters(options: Mapping[str, str], threads: int) -> dict[str, Any]:
    """Return the options in the form that submitit's AutoExecutor.update_parameters takes. Raises ConfigError."""
    parameters: dict[str, Any] = {"name": "golfpipe-sweep", "cpus_per_task": threads, "timeout_min": DEFAULT_MINUTES}
    others: dict[str, str] = {}
    for name, value in options.items():
        if name == "time":
            parameters["timeout_min"] = minutes(value)
        elif name == "job_name":
            parameters["name"] = value
        elif name in SHARED_NAMES:
            if not value.isdecimal():
                raise ConfigError(f"--slurm {name}={value}: expected a whole number")
            parameters[name] = int(value)
        else:
            others[name] = value
    return parameters | ({"slurm_additional_parameters": others} if others else {})


def minutes(text: str) -> int:
    """Return a time of sbatch in whole minutes, up: M, M:S, H:M:S, D-H, D-H:M or D-H:M:S. Raises ConfigError."""
    match = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", text)
    if match is None:
        raise ConfigError(f"--slurm time={text}: expected minutes, hours:minutes:seconds or days-hours")
    days, first, second, third = (int(part or 0) for part in match.groups())
    if match[1] is not None:
        seconds = days * 86400 + first * 3600 + second * 60 + third
    elif match[4] is not None:
        seconds = first * 3600 + second * 60 + third
    else:
        seconds = first * 60 + second
    return max(1, -(-seconds // 60))


class SlurmWorkers:
    """Runs chains of steps as job arrays. `cluster` is submitit's executor: slurm, or local for tests."""

    takes_chains = True

    def __init__(
        self, folder: Path, *, threads: int, jobs: int | None, options: Mapping[str, str], cluster: str = "slurm"
    ) -> None:
        require("submitit")
        import submitit

        if cluster == "slurm" and (shutil.which("sbatch") is None or shutil.which("srun") is None):
            raise UsageError(
                "--executor slurm: there is no sbatch on this machine",
                hint="run it where jobs are submitted; --executor local works on this machine",
            )
        self.at_once = jobs or ARRAY_TASKS
        self.folder, self.threads, self.cluster = folder / JOBS_FOLDER, threads, cluster
        self.poll_seconds = POLL_SECONDS[cluster]
        self.jobs: dict[Reports, Any] = {}
        self.left_queue: dict[str, float] = {}
        """For tasks that are no longer in the queue, when that was first seen."""
        self.last_look = time.monotonic()
        self.all_well = True
        logging.getLogger("submitit").setLevel(logging.ERROR)  # it warns that sacct is missing, which is not needed
        self.executor = submitit.AutoExecutor(folder=self.folder, cluster=cluster)
        parameters = submitit_parameters(options, threads)
        self.executor.update_parameters(**parameters, slurm_array_parallelism=self.at_once)

    def __enter__(self) -> SlurmWorkers:
        return self

    def __exit__(self, kind: Any, *rest: object) -> None:
        for job in self.jobs.values():  # some are left only after an exception
            job.cancel(check=False)
        if kind is None and self.all_well:
            shutil.rmtree(self.folder, ignore_errors=True)

    def submit(self, chains: Sequence[Sequence[Request]]) -> list[Reports]:
        try:
            with self.executor.batch():
                jobs = [self.executor.submit(run_task, list(chain), self.threads) for chain in chains]
        except (RuntimeError, OSError, subprocess.SubprocessError) as error:  # the message holds what sbatch said
            text = " ".join(str(error).split())[:500]
            raise StageFailed(f"submitting to Slurm failed: {text}", hint="finished cells are kept") from error
        futures: list[Reports] = [Future() for _ in jobs]
        self.jobs |= dict(zip(futures, jobs, strict=True))
        return futures

    def wait(self, futures: Collection[Reports], seconds: float) -> set[Reports]:
        end = time.monotonic() + max(seconds, self.poll_seconds)
        while True:
            self._look_at_queue()
            done = {future for future in futures if self._is_over(self.jobs[future])}
            for future in done:
                self._finish(future, self.jobs.pop(future))
            if done or time.monotonic() >= end:
                return done
            time.sleep(self.poll_seconds)

    def _look_at_queue(self) -> None:
        """Ask squeue, now and then, which tasks are not over. It knows that on every cluster, while sacct, which
        submitit asks, needs one with accounting."""
        now = time.monotonic()
        if self.cluster != "slurm" or now - self.last_look < QUEUE_SECONDS:
            return
        self.last_look = now
        asked = subprocess.run(
            ["squeue", "--noheader", "--array", "--me", "--format=%i"], capture_output=True, text=True, check=False
        )
        if asked.returncode == 0:
            queued = set(asked.stdout.split())
            gone = {job.job_id for job in self.jobs.values()} - queued
            self.left_queue = {name: self.left_queue.get(name, now) for name in gone}

    def _is_over(self, job: Any) -> bool:
        if self.cluster != "slurm":
            return bool(job.done())
        since = self.left_queue.get(job.job_id)
        return job.paths.result_pickle.exists() or (since is not None and time.monotonic() - since > GRACE_SECONDS)

    def _finish(self, future: Reports, job: Any) -> None:
        try:
            if self.cluster == "slurm" and not job.paths.result_pickle.exists():
                raise RuntimeError(_last_line(job.paths.stderr))
            reports: list[Report] = job.result()
        except Exception as error:  # submitit's errors, whatever ended the task
            self.all_well = False
            state = f" ({known})" if (known := _state(job.job_id)) else ""
            last = next((line for line in reversed(str(error).splitlines()) if line.strip()), "").strip()[:200]
            message = f"Slurm task {job.job_id} ended without a result{state}"
            hint = f"its log: {job.paths.stderr}; more time or memory: --slurm time=..., --slurm mem=..."
            future.set_exception(JobDied(f"{message}: {last}" if last else message, hint))
        else:
            future.set_result(reports)


def _state(job_id: str) -> str:
    """Return what the cluster's accounting says of a task, such as 'OUT_OF_MEMORY'; "" where there is no accounting."""
    words = ["sacct", "--noheader", "--parsable2", "--format=State", "--jobs", job_id]
    try:
        asked = subprocess.run(words, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return asked.stdout.partition("\n")[0].strip() if asked.returncode == 0 else ""


def _last_line(log: Path) -> str:
    """Return the last line of a task's log; "" where it is missing."""
    try:
        return log.read_text(encoding="utf-8", errors="replace").strip().rpartition("\n")[2]
    except OSError:
        return ""


def run_task(chain: Sequence[Request], threads: int) -> list[Report]:
    """Run the steps, with the threads that every cell has. A task of the array calls this."""
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(threads)))
    with _ended_by_sigterm():
        return run_steps(chain)


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """End on SIGTERM inside the `with` block. scancel sends it and submitit ignores it; ending here releases locks and
    removes half-written files at once."""

    def end(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
