"""`data fetch`: download published shards into a folder, and make that token data in place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from golfpipe.data.fetch import FetchPlan, fetch, plan_fetch
from golfpipe.jobs.job import Context, Job
from golfpipe.pipeline.data_sources import add_arguments
from golfpipe.pipeline.settings import Settings
from golfpipe.pipeline.single import ARTIFACTS, Request, checked_name, checked_out, prepare
from golfpipe.store.files import free_bytes, no_space


def fetch_folder(out: Path | None, variant: str, name: str | None) -> Path:
    """Return the folder that the shards go to."""
    return checked_out(out) if out is not None else ARTIFACTS / "data" / checked_name(name or f"fineweb_{variant}")


def plan(folder: Path, *, repository: str, variant: str, train_shards: int, revision: str | None) -> FetchPlan:
    """Choose the files and the commit to fetch. Raises UsageError, DataError, StageFailed."""
    return plan_fetch(folder, repository=repository, variant=variant, train_shards=train_shards, revision=revision)


def fetch_files(found: FetchPlan, folder: Path, context: Context) -> None:
    """Download what is missing, with progress. Raises StageFailed."""
    missing = sum(file.bytes for file in found.files if not (folder / file.name).is_file())
    if missing > free_bytes(folder.absolute().parent):
        raise no_space(folder, missing)
    with context.reporter.task("fetch", found.total_bytes, "B") as task:
        fetch(found, folder, task.advance)


def adding_job(found: FetchPlan, folder: Path, context: Context) -> Job:
    """Return the job that makes the folder an artifact; it checks headers and validation bytes."""
    arguments: dict[str, Any]
    arguments, digest = add_arguments(folder, folder / found.tokenizer.name, None)
    request = Request(
        stage="data-add",
        settings=Settings(),
        context=context,
        out=folder,
        arguments=arguments,
        argument_digest=digest,
    )
    return prepare(request)
