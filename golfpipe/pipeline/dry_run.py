"""The answer of --dry-run: whether a job would run, and why. Writes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from golfpipe.config.schema import build_config, plain_config
from golfpipe.errors import ConfigError
from golfpipe.jobs.job import Job
from golfpipe.jobs.key import stale_reasons
from golfpipe.model.config import ModelConfig
from golfpipe.pipeline.estimate import estimate
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
    seconds: float | None
    free_bytes: int


def plan_job(job: Job) -> Plan:
    """Compare the job with what is in its output folder, and estimate what it needs."""
    reasons = stale_reasons(job.stage, job.config, job.input_digests, try_open(job.out), job.argument_digest)
    needs = estimate(job.stage, job.config, _architecture(job))
    output, memory = needs["output_bytes"], needs["memory_bytes"]
    return Plan(
        stage=job.stage.name,
        kind=job.stage.writes(plain_config(job.config)),
        out=job.out,
        key=job.key,
        reasons=tuple(reasons or (["--force"] if job.context.force else [])),
        inputs={role: str(artifact.path) for role, artifact in job.inputs.items()},
        output_bytes=int(output) if output is not None else None,
        memory_bytes=int(memory) if memory is not None else None,
        seconds=needs["seconds"],
        free_bytes=free_bytes(job.out.absolute().parent),
    )


def _architecture(job: Job) -> ModelConfig:
    """Return the architecture of the model that comes in, or else of the one that will be trained."""
    for artifact in job.inputs.values():
        if artifact.manifest.model is not None:
            try:
                return build_config({"model": artifact.manifest.model}).model
            except ConfigError:  # the stage itself will say so
                break
    return job.config.model
