"""`golfpipe ls [FOLDER]`"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from golfpipe.cli.answer import Answer
from golfpipe.cli.command import input_path
from golfpipe.cli.options import OutputOptions
from golfpipe.cli.table import format_table, paragraphs, shortened
from golfpipe.units import format_age, format_bytes

if TYPE_CHECKING:
    from golfpipe.review.runs import RunLine


def ls(
    options: OutputOptions,
    folder: Annotated[str, typer.Argument(metavar="FOLDER", help="Folder that holds runs.")] = "artifacts",
) -> Answer:
    """List all runs, newest first: state, preset, steps, score, bytes, age.

    Reads the manifests of all runs below the folder. Writes nothing. The score is that of the last form of the model
    that was scored, the packed one first; "training" stands for the validation of training, which is a sample.

    \b
    Examples:
      golfpipe ls
      golfpipe ls artifacts --json
    """
    from golfpipe.pipeline.settings import Settings
    from golfpipe.review.runs import list_runs

    path = input_path(folder)
    runs = list_runs(path, Settings().stages().default_preset)
    header = ["run", "state", "preset", "steps", "val_bpb", "scored", "bytes", "age"]
    now = time.time()
    counts = Counter(run.state for run in runs)
    number = f"{len(runs)} run{'s' if len(runs) > 1 else ''}"
    summary = f"{number}: {', '.join(f'{count} {state}' for state, count in counts.items())}"
    return Answer(
        lines=paragraphs(format_table(header, [_row(run, now) for run in runs]), [summary])
        if runs
        else [f"{path}: no runs yet; `golfpipe run` makes one"],
        path=path,
        extra={"runs": [asdict(run) | {"path": str(run.path)} for run in runs]},
    )


def _row(run: RunLine, now: float) -> list[str]:
    return [
        shortened(run.name, 18),
        run.state,
        shortened(run.preset or "-", 10),
        f"{run.steps:,}" if run.steps is not None else "-",
        f"{run.val_bpb:.4f}" if run.val_bpb is not None else "-",
        run.scored or "-",
        format_bytes(run.total_bytes) if run.total_bytes is not None else "-",
        format_age(now - run.written_unix),
    ]
