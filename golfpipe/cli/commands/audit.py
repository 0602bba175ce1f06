"""`golfpipe audit PATH...`"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from golfpipe.cli.answer import Answer
from golfpipe.cli.audit_text import (
    audit_error,
    audit_fields,
    audit_metrics,
    board_csv,
    board_error,
    board_table,
    rule_lines,
    size_table,
)
from golfpipe.cli.command import input_path
from golfpipe.cli.options import Device, OutputOptions
from golfpipe.cli.progress import make_reporter
from golfpipe.cli.room_options import RoomDevice, RoomSeconds, RoomTargets, RoomThreads, room_of
from golfpipe.cli.table import paragraphs
from golfpipe.errors import UsageError

if TYPE_CHECKING:
    from golfpipe.review.audit import Execution
    from golfpipe.submission.trial.room import Room


def audit(
    paths: Annotated[list[str], typer.Argument(metavar="PATH...", help="Any artifact, run, or records folders.")],
    options: OutputOptions,
    strict: Annotated[bool, typer.Option("--strict", help="Exit 5 if any rule fails.")] = False,
    execute: Annotated[
        bool, typer.Option("--execute", help="Run the scoring method too, on altered text in a clean process.")
    ] = False,
    csv: Annotated[bool, typer.Option("--csv", help="Print a table of comma-separated values, a line each.")] = False,
    unpack: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Write the readable source of a record's script there, unexecuted."),
    ] = None,
    device: RoomDevice = Device.auto,
    threads: RoomThreads = None,
    targets: RoomTargets = None,
    seconds: RoomSeconds = None,
) -> Answer:
    """Show where the bytes are, what is left, and which rules hold.

    Reads any artifact or a records folder, of a run its submission, else its packed model or the furthest form before,
    and compares every file with its sha256. Writes nothing, but with --unpack the source. Exits 4
    over the byte or time limit; a rule that fails changes the exit code (to 5) only with --strict. Several folders give
    a line each.

    With --execute the method behind a score runs again, from the packed file. Earlier scores must stay when later
    tokens are replaced, also in the validation file, probabilities must sum to one, each token must be scored once, and
    nothing else may be opened. It tries the beginning of the split and says how much of it; --targets all tries it
    whole.

    \b
    Examples:
      golfpipe audit artifacts/demo/pack
      golfpipe audit artifacts/demo/submit
      golfpipe audit artifacts/demo/evaluate-pack --execute
      golfpipe audit artifacts/demo/evaluate-pack --execute --targets 5000
      golfpipe audit artifacts/demo/pack artifacts/demo/submit --csv
    """
    folders = [input_path(path) for path in paths]
    if len(folders) == 1:
        room = room_of(device, threads, targets, seconds)
        execution = _execution(options, room) if execute else None
        return _audit_of_one(folders[0], execution, unpack, csv=csv, strict=strict)
    if execute or unpack is not None:
        raise UsageError("--execute and --unpack take one folder at a time")
    return _audit_of_many(folders, csv=csv, strict=strict)


def _execution(options: OutputOptions, room: Room) -> Execution:
    from golfpipe.review.audit import Execution

    return Execution(room=room, reporter=make_reporter(quiet=options.quiet, verbose=options.verbose))


def _audit_of_one(path: Path, execution: Execution | None, unpack: Path | None, *, csv: bool, strict: bool) -> Answer:
    from golfpipe.review.audit import audit_path
    from golfpipe.review.board import board_row, row_fields, write_sources

    report = audit_path(path, execution)
    sources = write_sources(report, unpack) if unpack is not None else []
    lines = paragraphs(
        [f"{report.kind}  {report.path}"],
        size_table(report),
        rule_lines(report.rules),
        *([note] for note in report.notes),
        [f"readable source: {path}" for path in sources],
    )
    return Answer(
        lines=board_csv([row_fields(board_row(report))]) if csv else lines,
        path=report.path,
        kind=report.kind,
        digest=report.digest,
        metrics=audit_metrics(report),
        extra=audit_fields(report),
        error=audit_error(report, strict=strict),
    )


def _audit_of_many(folders: list[Path], *, csv: bool, strict: bool) -> Answer:
    """Return a line per folder."""
    from golfpipe.review.board import board, row_fields

    rows = board(folders)
    table = [row_fields(row) for row, _ in rows]
    return Answer(
        lines=board_csv(table) if csv else board_table(table),
        extra={"folders": table},
        error=board_error([found for _, found in rows], strict=strict),
    )
