"""Stages that cost nothing and still write artifacts whose digests follow from settings and inputs."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from golfpipe.config.schema import PipelineConfig, plain_config
from golfpipe.errors import OverLimit
from golfpipe.jobs.job import Job
from golfpipe.jobs.unfinished import protect
from golfpipe.store.artifact import Artifact
from golfpipe.store.artifact_writer import ArtifactWriter, begin, finish
from golfpipe.store.manifest import Result

CALLS: list[str] = []
"""Names of the stages that ran, for tests to look at and clear."""


def run(job: Job, out: ArtifactWriter) -> Result:
    CALLS.append(job.stage.name)
    if job.stage.precious:
        protect(job, out)
    digests = [artifact.manifest.digest for artifact in job.inputs.values()]
    out.write("content.txt", hashlib.sha256(repr((job.stage.name, digests, _settings(job))).encode()).digest())
    kind = job.stage.writes(plain_config(job.config))
    if job.stage.name == "submit" and job.config.submit.blurb == "too big":
        raise OverLimit("over the limit")
    model = plain_config(job.config.model) if kind != "token_data" else None
    return Result(kind=kind, metrics=_metrics(kind, job.config), model=model)


def check(job: Job, processes: int) -> None:
    """Nothing is refused."""


def _settings(job: Job) -> list[Any]:
    return [getattr(job.config, section) for section in job.stage.sections]


def _metrics(kind: str, config: PipelineConfig) -> dict[str, Any]:
    if kind == "packed_model":
        total = 600 + config.pack.code_bytes_reserve
        limit = config.pack.limit_bytes
        return {
            "packed_bytes": 600,
            "code_bytes": config.pack.code_bytes_reserve,
            "total_bytes": total,
            "limit_bytes": limit,
            "fits": total <= limit,
        }
    if kind == "evaluation":
        return {"val_loss_nats": 2.0, "val_bpb": 1.5, "scored_targets": 10, "eligible": True}
    return {}


def make_artifact(path: Path, kind: Any, *, metrics: dict[str, Any] | None = None, **more: Any) -> Artifact:
    """A finished artifact with one file, made without a stage."""
    writer = begin(path)
    writer.write("content.txt", b"content")
    values: dict[str, Any] = {
        "key": "k",
        "config": plain_config(PipelineConfig()),
        "inputs": (),
        "provenance": {},
    } | more
    result = Result(kind=kind, metrics=metrics or {})
    return Artifact(path, finish(writer, path, result, stage="fake", **values))
