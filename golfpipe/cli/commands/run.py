"""`golfpipe run [DATA]`"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from golfpipe.cli.answer import Answer
from golfpipe.cli.audit_text import audit_error, audit_fields, audit_metrics
from golfpipe.cli.command import context_of, input_path, settings_of
from golfpipe.cli.ending import ending
from golfpipe.cli.options import WorkOptions
from golfpipe.cli.rehearsal_text import real_command, rehearsal_lines, state_of
from golfpipe.cli.step_text import result_table, step_lines
from golfpipe.errors import UsageError
from golfpipe.reporter import beside_finished_work
from golfpipe.store.metric_values import text

if TYPE_CHECKING:
    from pathlib import Path

    from golfpipe.jobs.job import Context
    from golfpipe.pipeline.runner import RunPlan, Step
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
    seeds: Annotated[
        str | None,
        typer.Option(metavar="N,N,...", help="Train once with each of these seeds; one submission of them all."),
    ] = None,
    rehearse: Annotated[
        bool, typer.Option("--rehearse", help="Try every step at one step of training, in a folder of its own.")
    ] = False,
) -> Answer:
    """Run the whole chain: text to a checked submission folder.

    Reads stages.yaml, and token_data if given. Writes one artifact per step in artifacts/NAME, and report.html there.
    Steps that are up to date are skipped; for the others it says why they run. Over the byte limit it goes on to the
    audit and then exits 4. With --seeds there is one chain of steps for each seed, in artifacts/NAME/seed-N, and the
    data is shared; the same command goes on with what is missing. With --rehearse every step does the least that shows
    that it works, in artifacts/NAME-rehearsal.

    \b
    Examples:
      golfpipe run
      golfpipe run --preset tiny --set train.max_steps=20 --name try --until pack
      golfpipe run --seeds 1,2,3 --dry-run
    """
    from golfpipe.pipeline.runner import RunRequest, dry_run, plan_run, run_pipeline, step_fields
    from golfpipe.pipeline.seeds import parse_seeds

    context = context_of(options)
    plan = plan_run(
        RunRequest(
            settings=settings_of(options),
            context=context,
            name=name,
            data=input_path(data) if data is not None else None,
            start=start,
            until=until,
            seeds=parse_seeds(seeds) if seeds is not None else (),
        )
    )
    if rehearse:
        return _rehearsal(plan, options, start)
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
    return _answer(steps, plan.folder, context)


def _rehearsal(run: RunPlan, options: WorkOptions, start: str | None) -> Answer:
    """Rehearse the run, and return what became of each step and what it will take."""
    from golfpipe.pipeline.rehearsal import cuts, rehearsal_of, rehearse
    from golfpipe.pipeline.runner import step_fields
    from golfpipe.pipeline.settings import machine_of

    if start is not None or options.dry_run:
        raise UsageError("--rehearse tries every step, and takes neither --from nor --dry-run")
    command, width = real_command(run.context.argv), max(len(node.name) for node in run.work)
    say, cut = run.context.reporter.note, cuts(run.config)
    done = rehearse(run, machine_of(settings_of(options)), lambda step: say("\n".join(step_lines(step, width))))
    stages = [
        step_fields(each.step)
        | {"rehearsal": state_of(each), "expected": dict(each.expected)}
        | {"error": each.error.message if each.error is not None else None}
        for each in done
    ]
    named = [f"{key}={value:g}" for key, value in cut.items()]
    error = next((each.error for each in done if each.error is not None), None)
    return Answer(
        lines=["", *rehearsal_lines(done, named, options.machine, command)],
        path=rehearsal_of(run).folder,
        extra={"rehearsal": True, "stages": stages, "cuts": cut, "command": command if error is None else None},
        error=error,
    )


def _answer(steps: list[Step], folder: Path, context: Context) -> Answer:
    """Return what the steps made, what it is worth, and the one thing to do next. The report has the rest."""
    from golfpipe.pipeline.runner import REPORT_FILE, step_fields
    from golfpipe.report.page import write_report
    from golfpipe.report.run_data import read_runs
    from golfpipe.report.verdict import gravest
    from golfpipe.review.audit import audit_path
    from golfpipe.review.samples import draw_samples

    audited = _last(steps, "submission") or _last(steps, "packed_model")
    report = audit_path(audited.path) if audited is not None else None
    page, numbers, judged = None, None, None
    with beside_finished_work(context.reporter, f"{folder / REPORT_FILE}"):
        runs = read_runs(folder)
        numbers, judged = gravest(runs)
        samples = draw_samples(runs, context.reporter, device=context.device, threads=context.threads)
        page = write_report([folder], folder / REPORT_FILE, context.reporter, samples)
    submission = _last(steps, "submission")
    metrics, fields = _findings(report, submission)
    rules = report.rules if report is not None else ()
    refused = next((step.error for step in steps if step.error is not None), None)
    last = submission or next((step.artifact for step in reversed(steps) if step.artifact is not None), None)
    return Answer(
        lines=["", *ending(result_table(steps), numbers, judged, rules, _records_folder(submission), page)],
        path=last.path if last is not None else folder,
        kind=last.manifest.kind if last is not None else None,
        digest=last.manifest.digest if last is not None else None,
        up_to_date=all(step.state != "done" for step in steps) and refused is None,
        metrics=metrics,
        extra={
            "stages": [step_fields(step) for step in steps],
            "report": str(page) if page is not None else None,
            "verdict": asdict(judged) if judged is not None else None,
            **fields,
        },
        error=(audit_error(report, strict=False) if report is not None else None) or refused,
    )


def _findings(report: AuditReport | None, submission: Artifact | None) -> tuple[dict[str, Any], dict[str, Any]]:
    metrics: dict[str, Any] = dict(submission.manifest.metrics) if submission is not None else {}
    if report is None:
        return metrics, {"rules": []}
    return metrics | audit_metrics(report), audit_fields(report)


def _records_folder(submission: Artifact | None) -> Path | None:
    if submission is None:
        return None
    return submission.path / (text(submission.manifest.provenance, "records_folder") or "")


def _last(steps: list[Step], kind: str) -> Artifact | None:
    return next(
        (s.artifact for s in reversed(steps) if s.artifact is not None and s.artifact.manifest.kind == kind), None
    )
