"""`golfpipe audit PATH`"""

from __future__ import annotations

from typing import Annotated

import typer

from golfpipe.cli.answer import Answer
from golfpipe.cli.audit_text import audit_error, audit_fields, audit_metrics, rule_table, size_table
from golfpipe.cli.command import input_path
from golfpipe.cli.options import OutputOptions


def audit(
    path: Annotated[str, typer.Argument(help="Any artifact, or a records folder.")],
    options: OutputOptions,
    strict: Annotated[bool, typer.Option("--strict", help="Exit 5 if any rule fails.")] = False,
) -> Answer:
    """Show where the bytes are, what is left, and which rules hold.

    Reads any artifact or a records folder, and compares every file with its sha256. Writes nothing. Exits 4 over the
    byte or time limit; a rule that fails changes the exit code (to 5) only with --strict.

    \b
    Examples:
      golfpipe audit artifacts/demo/pack
      golfpipe audit artifacts/demo/submit
    """
    from golfpipe.pipeline.audit import audit_path

    report = audit_path(input_path(path))
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
