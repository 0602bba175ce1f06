"""`golfpipe run [DATA]`"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from golfpipe.cli.answer import Answer
from golfpipe.cli.audit_text import audit_error, audit_fields, audit_metrics, rule_lines, size_table
from golfpipe.cli.command import context_of, input_path, settings_of
from golfpipe.cli.options import WorkOptions
from golfpipe.cli.step_text import result_table, step_lines
from golfpipe.cli.table import paragraphs
from golfpipe.reporter import beside_finished_work
from golfpipe.store.metric_values import text

if TYPE_CHECKING:
    from pathlib import Path

    from golfpipe.pipeline.runner import Step
    from golfpipe.reporter import Reporter
    from golfpipe.review.audit import AuditReport
    from golfpipe.store.artifact import Artifact


def run(
    options: WorkOptions,
    data: Annotated[str | None, typer.Argument(help="Token data; default what data.source names.")] = None,
    name: Annotated[str | None, typer.Option(help="Folder below artifacts/; default the preset.")] = None,
    start: Annotated[
        str | None, typer.Option("--from", metavar="STEP", help="Take the steps before this one as they are.")
    ] = None,
    until: Annotated[str | None, typer.Option(metavar="STEP", help="Stop after this step.")] = None,
) -> Answer:
    """Run the whole chain: text to a checked submission folder.

    Reads stages.yaml, and token_data if given. Writes one artifact per step in artifacts/NAME, and report.html there.
    Steps that are up to date are skipped; for the others it says why they run. Over the byte limit it goes on to the
    audit and then exits 4.

    \b
    Examples:
      golfpipe run
      golfpipe run --preset tiny --set train.max_steps=20 --name try --until pack
    """
    from golfpipe.pipeline.runner import RunRequest, dry_run, plan_run, run_pipeline, step_fields

    context = context_of(options)
    plan = plan_run(
        RunRequest(
            settings=settings_of(options),
            context=context,
            name=name,
            data=input_path(data) if data is not None else None,
            start=start,
            until=until,
        )
    )
    width = max(len(node.name) for node in (*plan.given, *plan.work))
    if options.dry_run:
        steps = dry_run(plan)
        return Answer(
            lines=[line for step in steps for line in step_lines(step, width)],
            path=plan.folder,
            up_to_date=not any(step.has_work for step in steps),
            extra={"stages": [step_fields(step) for step in steps]},
        )
    if options.preset is None and start is None:
        context.reporter.note(f"no --preset given: using {settings_of(options).stages().default_preset}")
    steps = run_pipeline(plan, lambda step: context.reporter.note("\n".join(step_lines(step, width))))
    return _answer(steps, plan.folder, context.reporter)


def _answer(steps: list[Step], folder: Path, reporter: Reporter) -> Answer:
    """Return the table of the steps, the audit, and the places of the results."""
    from golfpipe.pipeline.runner import REPORT_FILE, step_fields
    from golfpipe.report.page import write_report
    from golfpipe.review.audit import audit_path

    audited = _last(steps, "submission") or _last(steps, "packed_model")
    report = audit_path(audited.path) if audited is not None else None
    page: Path | None = None
    with beside_finished_work(reporter, f"{folder / REPORT_FILE}"):
        page = write_report([folder], folder / REPORT_FILE, reporter)
    submission = _last(steps, "submission")
    metrics, fields = _findings(report, submission)
    parts = [result_table(steps)]
    if report is not None:
        parts += [size_table(report), rule_lines(report.rules)]
    parts.append(_places(submission, page))
    refused = next((step.error for step in steps if step.error is not None), None)
    last = submission or next((step.artifact for step in reversed(steps) if step.artifact is not None), None)
    return Answer(
        lines=["", *paragraphs(*parts)],
        path=last.path if last is not None else folder,
        kind=last.manifest.kind if last is not None else None,
        digest=last.manifest.digest if last is not None else None,
        up_to_date=all(step.state != "done" for step in steps) and refused is None,
        metrics=metrics,
        extra={
            "stages": [step_fields(step) for step in steps],
            "report": str(page) if page is not None else None,
            **fields,
        },
        error=(audit_error(report, strict=False) if report is not None else None) or refused,
    )


def _findings(report: AuditReport | None, submission: Artifact | None) -> tuple[dict[str, Any], dict[str, Any]]:
    metrics: dict[str, Any] = dict(submission.manifest.metrics) if submission is not None else {}
    if report is None:
        return metrics, {"rules": []}
    return metrics | audit_metrics(report), audit_fields(report)


def _places(submission: Artifact | None, page: Path | None) -> list[str]:
    lines = []
    if submission is not None:
        folder = text(submission.manifest.provenance, "records_folder") or ""
        lines.append(f"records folder  {submission.path / folder}")
    return [*lines, f"report          {page if page is not None else 'not made'}"]


def _last(steps: list[Step], kind: str) -> Artifact | None:
    return next(
        (s.artifact for s in reversed(steps) if s.artifact is not None and s.artifact.manifest.kind == kind), None
    )
