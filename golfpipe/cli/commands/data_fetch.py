"""`golfpipe data fetch`"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from golfpipe.cli.answer import Answer
from golfpipe.cli.command import artifact_answer, output_path
from golfpipe.cli.options import OutputOptions
from golfpipe.cli.progress import make_reporter
from golfpipe.errors import StageFailed
from golfpipe.units import format_bytes

REPOSITORY = "willdepueoai/parameter-golf"


def data_fetch(
    options: OutputOptions,
    variant: Annotated[str, typer.Option(metavar="NAME", help="Tokenization: sp1024, sp4096, ...")] = "sp1024",
    train_shards: Annotated[int, typer.Option(metavar="N", min=0, help="Train shards, the first N.")] = 1,
    repo_id: Annotated[
        str, typer.Option(metavar="OWNER/NAME", help="Dataset repository; others publish other vocabularies.")
    ] = REPOSITORY,
    revision: Annotated[
        str | None,
        typer.Option(metavar="REV", help="Branch, tag or commit; default the one begun with, or the newest."),
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the data; default fineweb_VARIANT.")] = None,
    out: Annotated[str | None, typer.Option("-o", "--out", metavar="FOLDER", help="Folder to fill.")] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Say what would be fetched; write nothing."),
    ] = False,
) -> Answer:
    """Fetch published FineWeb shards and make them token data.

    Reads a dataset repository of the Hugging Face hub, or of HF_ENDPOINT. Writes token_data, by default in
    artifacts/data/fineweb_VARIANT: all validation shards, the first N train shards (200 MB each), the tokenizer. The
    commit is pinned, every file's sha256 is checked, and the same command goes on after an interruption.

    \b
    Examples:
      golfpipe data fetch --train-shards 10
      golfpipe data fetch --variant sp4096 --repo-id someone/exports --dry-run
    """
    from golfpipe.jobs.job import Context
    from golfpipe.jobs.run import run_job
    from golfpipe.pipeline.fetching import adding_job, fetch_files, fetch_folder, plan

    context = Context(reporter=make_reporter(quiet=options.quiet, verbose=options.verbose))
    folder = fetch_folder(output_path(out), variant, name)
    try:
        found = plan(folder, repository=repo_id, variant=variant, train_shards=train_shards, revision=revision)
    except StageFailed as error:
        if not dry_run:
            raise
        context.reporter.warn(f"names and sizes are unknown: {error.message}")
        files = f"the tokenizer, all validation shards and {train_shards} train shards of {variant}, 200 MB each"
        return Answer(
            lines=[f"{repo_id}: {files} -> {folder}"],
            path=folder,
            kind="token_data",
            extra={"repository": repo_id, "commit": revision, "bytes": None},
        )
    about = {"repository": found.repository, "commit": found.commit, "bytes": found.total_bytes}
    if dry_run:
        rows = [f"  {file.name}  {format_bytes(file.bytes)}" for file in found.files]
        title = f"{found.repository} at {found.commit[:12]}: {format_bytes(found.total_bytes)} -> {folder}"
        return Answer(lines=[title, *rows], path=folder, kind="token_data", extra=about)
    fetch_files(found, folder, context)
    outcome = run_job(adding_job(found, folder, context))
    answer = artifact_answer(outcome.artifact, up_to_date=outcome.up_to_date)
    return replace(answer, extra=about)
