"""`golfpipe trial SCORER.py DATA`"""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from golfpipe.cli.answer import Answer
from golfpipe.cli.audit_text import rule_lines, rules_error
from golfpipe.cli.command import input_path
from golfpipe.cli.layout import paragraph, text_width
from golfpipe.cli.options import Device, OutputOptions
from golfpipe.cli.progress import make_reporter
from golfpipe.cli.room_options import RoomDevice, RoomSeconds, RoomTargets, RoomThreads, room_of
from golfpipe.cli.table import paragraphs
from golfpipe.errors import UsageError

if TYPE_CHECKING:
    from golfpipe.review.trial import TrialReport


def trial(
    options: OutputOptions,
    scorer: Annotated[str | None, typer.Argument(metavar="SCORER.py", help="Your Python file with score().")] = None,
    data: Annotated[str | None, typer.Argument(metavar="DATA", help="Token data with a validation split.")] = None,
    allow: Annotated[
        list[Path] | None,
        typer.Option(metavar="PATH", help="A file or folder that it may open too, as its weights. Repeatable."),
    ] = None,
    example: Annotated[bool, typer.Option("--example", help="Print a scorer to start from.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit 5 if any rule fails.")] = False,
    device: RoomDevice = Device.auto,
    threads: RoomThreads = None,
    targets: RoomTargets = None,
    seconds: RoomSeconds = None,
) -> Answer:
    """Put your own scoring method on trial, whatever model it has.

    SCORER.py has a function score(tokens) that returns the nats of every target; probabilities(tokens, targets) and
    order(tokens) are optional. It goes through all that `audit --execute` does: tokens replaced behind cuts, also in
    the validation file, shorter texts, every token in a target's place, counts, a process of its own, and what it
    opens. Methods that take documents in another order say so with order(), and are tried in it.

    Reads the file and token_data. Writes nothing. Your file runs with your rights: Python is not sandboxed. A rule that
    fails changes the exit code (to 5) only with --strict.

    \b
    Examples:
      golfpipe trial --example > scorer.py
      golfpipe trial scorer.py artifacts/data/demo --targets 2000 --strict
    """
    if example:
        from golfpipe.submission.trial.file_scorer import TEMPLATE

        return Answer(lines=TEMPLATE.read_text(encoding="utf-8").splitlines())
    if scorer is None or data is None:
        raise UsageError("expected SCORER.py and DATA", hint="this writes one: golfpipe trial --example > scorer.py")
    from golfpipe.review.trial import trial as put_on_trial

    room = room_of(device, threads, targets, seconds)
    reporter = make_reporter(quiet=options.quiet, verbose=options.verbose)
    report = put_on_trial(input_path(scorer), input_path(data), allow=allow or (), room=room, reporter=reporter)
    return _answer(report, strict=strict)


def _answer(report: TrialReport, *, strict: bool) -> Answer:
    found = report.executed
    about = (
        f"{found.method} on {found.count.targets:,} of {found.split_targets:,} targets of {report.data}:"
        f" {report.val_loss_nats:.5f} nats per target, {report.val_bpb:.5f} bits per byte"
    )
    width = text_width(sys.stdout, 120)
    return Answer(
        lines=paragraphs(
            paragraph(about, width),
            rule_lines(report.rules),
            *(paragraph(note, width) for note in report.notes),
        ),
        path=report.file,
        metrics={
            "targets": found.count.targets,
            "split_targets": found.split_targets,
            "val_loss_nats": report.val_loss_nats,
            "val_bpb": report.val_bpb,
            "own_bytes": found.own_bytes,
            "seconds": found.seconds,
        },
        extra={
            "rules": [asdict(rule) for rule in report.rules],
            "findings": found.as_json(),
            "notes": list(report.notes),
        },
        error=rules_error(report.file, report.failed_rules) if strict else None,
    )
