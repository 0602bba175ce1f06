"""The answer of --dry-run: whether a job would run, and why, and what it needs. Writes nothing.

A training is checked as well: whatever it would refuse before its first step, a dry run refuses.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from golfpipe.config.machines import Machine
from golfpipe.config.schema import build_config, plain_config
from golfpipe.errors import ConfigError
from golfpipe.jobs.job import Job
from golfpipe.jobs.key import stale_reasons
from golfpipe.jobs.run import check_job
from golfpipe.model.config import ModelConfig
from golfpipe.pipeline.estimate import estimate, step_operations, training_time
from golfpipe.store.artifact import try_open
from golfpipe.store.files import free_bytes
from golfpipe.store.manifest import Kind


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The answer of --dry-run for one job."""

    stage: str
    kind: Kind
    """The kind of the artifact that the stage writes."""
    out: Path
    key: str
    reasons: tuple[str, ...]
    """Why the job has to run; empty if it is up to date."""
    inputs: dict[str, str]
    """The path of the artifact in each role."""
    output_bytes: int | None
    memory_bytes: int | None
    free_bytes: int
    seconds: float | None = None
    """The time of a training, its clock alone; None where it is not known."""
    steps: int | None = None
    """The steps of a training in that time."""
    seconds_basis: str | None = None
    """Where the time comes from: measured, or estimated and how."""


def plan_job(job: Job, processes: int = 1) -> Plan:
    """Compare the job with what is in its output folder, and estimate what it needs.

    Raises what the job would refuse before it begins, with so many processes: UsageError, ConfigError, DataError and
    ArtifactError for its output, settings and inputs, Busy where another process writes there.
    """
    check_job(job, processes)
    reasons = stale_reasons(job.stage, job.config, job.input_digests, try_open(job.out), job.argument_digest)
    needs = estimate(job.stage, job.config, _architecture(job))
    return Plan(
        stage=job.stage.name,
        kind=job.stage.writes(plain_config(job.config)),
        out=job.out,
        key=job.key,
        reasons=tuple(reasons or (["--force"] if job.context.force else [])),
        inputs={role: str(artifact.path) for role, artifact in job.inputs.items()},
        output_bytes=needs["output_bytes"],
        memory_bytes=needs["memory_bytes"],
        free_bytes=free_bytes(job.out.absolute().parent),
    )


def plan_training(job: Job, processes: int, machines: dict[str, Machine], named: str | None, *, measure: bool) -> Plan:
    """Return the plan of a training with the time that it takes: measured here on a few steps, or estimated for the
    named machine, or else for the first of the machines that has the device and as many processes."""
    plan = plan_job(job, processes)
    if measure:
        from golfpipe.stages.training_measure import REPEATS, measured_step_seconds

        step = measured_step_seconds(job, processes)
        alone = f" by one of {processes} processes alone" if processes > 1 else ""
        return _timed(plan, job, step, f"measured here on {2 * REPEATS + 1} short steps{alone}")
    machine = machines[named] if named is not None else _like_this_one(machines, job, processes)
    if machine is None:
        return plan
    step = machine.step_seconds(step_operations(job.config))
    return _timed(plan, job, step, f"on {machine.name}: {machine.basis}")


def _timed(plan: Plan, job: Job, step_seconds: float, basis: str) -> Plan:
    config, replay = job.config.train, job.arguments.get("replay")
    if replay is not None:
        config = replace(config, max_steps=len(replay.lr_factors), max_seconds=0)
    time = training_time(config, step_seconds)
    return replace(plan, seconds=time.seconds, steps=time.steps, seconds_basis=basis)


def _like_this_one(machines: dict[str, Machine], job: Job, processes: int) -> Machine | None:
    from golfpipe.machine.devices import select_device

    device = select_device(job.context.device)
    fitting = (machine for machine in machines.values() if (machine.device, machine.processes) == (device, processes))
    return next(fitting, None)


def _architecture(job: Job) -> ModelConfig:
    """Return the architecture of the model that comes in, or else of the one that will be trained."""
    for artifact in job.inputs.values():
        if artifact.manifest.model is not None:
            try:
                return build_config({"model": artifact.manifest.model}).model
            except ConfigError:  # the stage itself will say so
                break
    return job.config.model
