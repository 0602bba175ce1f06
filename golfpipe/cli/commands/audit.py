"""`golfpipe audit PATH`"""

from __future__ import annotations

from typing import Annotated

import typer

from golfpipe.cli.answer import Answer
from golfpipe.cli.audit_text import audit_error, audit_fields, audit_metrics, rule_table, size_table
from golfpipe.cli.command import input_path
from golfpipe.cli.options import Device, OutputOptions
from golfpipe.cli.progress import make_reporter


def audit(
    path: Annotated[str, typer.Argument(help="Any artifact, records folder or run.")],
    options: OutputOptions,
    strict: Annotated[bool, typer.Option("--strict", help="Exit 5 if any rule fails.")] = False,
    execute: Annotated[
        bool, typer.Option("--execute", help="Run the scoring method too, on altered text in a clean process.")
    ] = False,
    device: Annotated[
        Device, typer.Option(help="Device of --execute: auto takes cuda, then mps, then cpu.")
    ] = Device.auto,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads of --execute.")] = None,
) -> Answer:
    """Show where the bytes are, what is left, and which rules hold.

    Reads any artifact, a records folder, or of a run folder the submission, else its packed model or the furthest form
    before, and compares every file with its sha256. Writes nothing. Exits 4 over the
    byte or time limit; a rule that fails changes the exit code (to 5) only with --strict.

    With --execute the method behind a score runs again, from the packed file. Earlier scores must stay when later
    tokens are replaced, probabilities must sum to one, each token must be scored once, and nothing else may be opened.

    \b
    Examples:
      golfpipe audit artifacts/demo/pack
      golfpipe audit artifacts/demo/submit
      golfpipe audit artifacts/demo/evaluate-pack --execute
    """
    from golfpipe.review.audit import Execution, audit_path

    execution = None
    if execute:
        reporter = make_reporter(quiet=options.quiet, verbose=options.verbose)
        execution = Execution(device=device.value, threads=threads, reporter=reporter)
    report = audit_path(input_path(path), execution)
    parts = [f"{report.kind}  {report.path}", size_table(report), rule_table(report), *report.notes]
    return Answer(
        text="\n\n".join(part for part in parts if part),
        path=report.path,
        kind=report.kind,
        digest=report.digest,
        metrics=audit_metrics(report),
        extra=audit_fields(report),
        error=audit_error(report, strict=strict),
    )
