"""The choice of where the steps of a sweep run: in processes of this machine, or on a Slurm cluster."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from golfpipe.errors import UsageError
from golfpipe.machine.devices import cpu_count
from golfpipe.sweeps.plan import DEFAULT_THREADS, SweepPlan
from golfpipe.sweeps.processes import ProcessWorkers
from golfpipe.sweeps.workers import Workers

ExecutorName = Literal["local", "slurm"]


def make_workers(
    plan: SweepPlan,
    *,
    executor: ExecutorName = "local",
    jobs: int | None = None,
    slurm: Mapping[str, str] | None = None,
) -> Workers:
    """Return workers for the plan. `jobs`: the most chains at a time; `slurm`: options of sbatch. Raises UsageError."""
    threads = next((step.request.context.threads for step in plan.steps.values()), None) or DEFAULT_THREADS
    if executor == "slurm":
        from golfpipe.sweeps.slurm import SlurmWorkers  # submitit is an optional package

        return SlurmWorkers(plan.folder, threads=threads, jobs=jobs, options=slurm or {})
    if slurm:
        raise UsageError(f"--slurm {next(iter(slurm))}=...: only for --executor slurm")
    return ProcessWorkers(jobs or max(1, cpu_count() // threads), threads)
