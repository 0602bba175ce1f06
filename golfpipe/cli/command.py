"""Turn a command's options into a job, and the finished job into the answer."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from golfpipe.cli.answer import Answer
from golfpipe.cli.options import ConfigOptions, StageOptions, WorkOptions
from golfpipe.cli.progress import make_reporter
from golfpipe.cli.table import format_metric, format_table
from golfpipe.errors import ArtifactError, GolfpipeError, OverLimit, UsageError
from golfpipe.store.metric_values import count, measured, number
from golfpipe.units import format_bytes, format_seconds

if TYPE_CHECKING:  # the command line sees these only through the pipeline
    from golfpipe.jobs.job import Context, Job
    from golfpipe.pipeline.dry_run import Plan
    from golfpipe.pipeline.settings import Settings
    from golfpipe.pipeline.single import Request
    from golfpipe.store.artifact import Artifact

HEADLINES: dict[str, tuple[str, ...]] = {
    "weights": ("tensors", "values"),
    "token_data": ("train_tokens", "val_tokens", "train_documents", "val_documents", "val_bytes", "bytes_per_token",
                   "vocab_size", "transform"),
    "trained_model": ("parameters", "steps", "tokens", "train_loss_nats", "val_loss_nats", "val_bpb", "stop_reason"),
    "quantized_model": ("relative_mse", "entropy_bytes"),
    "packed_model": ("packed_bytes", "code_bytes", "total_bytes", "limit_bytes", "fits"),
    "adapted_model": ("protocol", "eligible"),
    "evaluation": ("val_loss_nats", "val_bpb", "scored_targets", "scored_bytes", "whole_split", "method",
                   "context_length", "stride", "protocol", "eligible", "adapted_documents"),
    "partial_evaluation": ("shard", "num_shards", "scored_targets", "all_targets"),
    "submission": ("val_loss_nats", "val_bpb", "total_bytes", "limit_bytes"),
}  # fmt: skip
"""The metrics that people see, by kind of artifact; --json has all."""


def input_path(text: str) -> Path:
    """Return the path of a positional artifact. Raises ArtifactError for "", left by a failed `$(...)`."""
    if not text:
        raise ArtifactError("an input is an empty string: the command before this one failed", hint="chain with &&")
    return Path(text)


def output_path(text: str | None) -> Path | None:
    """Return the folder of -o. Raises UsageError for an empty text."""
    if text == "":
        raise UsageError("-o is an empty string", hint="give the folder to write")
    return Path(text) if text is not None else None


def settings_of(options: ConfigOptions, *more: str) -> Settings:
    """Return the settings that the options give. `more` holds overrides of a command's own options, below --set."""
    from golfpipe.pipeline.settings import Settings

    return Settings(
        config_file=options.config,
        preset=options.preset,
        machine=options.machine,
        overrides=(*more, *(options.set or ())),
        seed=options.seed,
    )


def context_of(options: WorkOptions, *, resume: bool = False) -> Context:
    """Return the machine and manner of work that the options give."""
    from golfpipe.jobs.job import Context

    return Context(
        device=options.device.value,
        threads=options.threads,
        force=options.force,
        resume=resume,
        reporter=make_reporter(quiet=options.quiet, verbose=options.verbose),
        argv=tuple(sys.argv[1:]),
    )


def run_stage(
    stage: str,
    options: StageOptions,
    *,
    inputs: Mapping[str, Path | None] | None = None,
    overrides: tuple[str, ...] = (),
    out: Path | None = None,
    arguments: Mapping[str, Any] | None = None,
    argument_digest: str = "",
) -> Answer:
    """Run one stage as its command, or plan it with --dry-run. `out` is used without -o; None is beside the input."""
    from golfpipe.pipeline.single import prepare

    request = stage_request(stage, options, inputs=inputs or {}, overrides=overrides)
    request = replace(request, out=request.out or out, arguments=arguments or {}, argument_digest=argument_digest)
    return work(prepare(request), options)


def stage_request(
    stage: str, options: StageOptions, *, inputs: Mapping[str, Path | None], overrides: tuple[str, ...] = ()
) -> Request:
    """Return the request that the options make of a stage."""
    from golfpipe.pipeline.single import Request

    return Request(
        stage=stage,
        inputs=inputs,
        settings=settings_of(options, *overrides),
        context=context_of(options),
        out=output_path(options.out),
    )


def work(job: Job, options: StageOptions) -> Answer:
    """Run the job, or with --dry-run say what it would do."""
    from golfpipe.jobs.run import run_job
    from golfpipe.pipeline.dry_run import plan_job

    if options.dry_run:
        return plan_answer(plan_job(job))
    if options.verbose:
        job.context.reporter.note(f"{job.stage.name}: key {job.key[:12]}, {', '.join(_inputs(job)) or 'no inputs'}")
    outcome = run_job(job)
    return artifact_answer(outcome.artifact, up_to_date=outcome.up_to_date)


def artifact_answer(artifact: Artifact, *, up_to_date: bool | None) -> Answer:
    """Return the answer of a command whose result is one artifact."""
    from golfpipe.loading.lineage import shown_metrics

    manifest, metrics = artifact.manifest, shown_metrics(artifact)
    state = "up to date" if up_to_date else "written" if up_to_date is not None else "as it is"
    headlines = HEADLINES[manifest.kind]
    rows = [[f"  {name}", format_metric(name, measured(metrics, name))] for name in headlines if name in metrics]
    if not up_to_date and "seconds" in manifest.metrics:
        rows.append(["  seconds", format_metric("seconds", number(manifest.metrics, "seconds"))])
    lines = [f"{manifest.kind}  {artifact.path}  ({state}, digest {manifest.digest[:12]})"]
    return Answer(
        lines=[*lines, *(format_table([], rows) if rows else [])],
        path=artifact.path,
        kind=manifest.kind,
        digest=manifest.digest,
        up_to_date=up_to_date,
        metrics=manifest.metrics,
        error=limit_error(artifact),
    )


def limit_error(artifact: Artifact) -> GolfpipeError | None:
    """Return the error of a packed model that does not fit, though it is complete; None for everything else."""
    metrics = artifact.manifest.metrics
    if artifact.manifest.kind != "packed_model" or metrics.get("fits") is not False:
        return None
    total, limit = count(metrics, "total_bytes"), count(metrics, "limit_bytes")
    over = f": {format_bytes(total)} of {format_bytes(limit)}" if total is not None and limit is not None else ""
    return OverLimit(
        f"{artifact.path}: over the limit{over}",
        hint="fewer bits (--set quantize.mlp.bits=3), a smaller model, or another --limit-bytes",
        path=str(artifact.path),
    )


def plan_answer(plan: Plan) -> Answer:
    """The answer of --dry-run."""
    fields = asdict(plan) | {"out": str(plan.out)}
    rows = [
        ["  key", plan.key],
        *[[f"  input {role}", path] for role, path in plan.inputs.items()],
        ["  output", f"{_known(format_metric('_bytes', plan.output_bytes))} of {format_bytes(plan.free_bytes)} free"],
        ["  memory", f"{_known(format_metric('_bytes', plan.memory_bytes))} (activations come on top)"],
        *_time_rows(plan),
    ]
    state = "; ".join(plan.reasons) if plan.reasons else "up to date, nothing to do"
    title = [f"{plan.stage} -> {plan.out}", f"  {'would run' if plan.reasons else 'would not run'}: {state}"]
    return Answer(
        lines=[*title, *format_table([], rows)],
        path=plan.out,
        kind=plan.kind,
        up_to_date=not plan.reasons,
        extra={"plan": fields},
    )


def _time_rows(plan: Plan) -> list[list[str]]:
    if plan.seconds is None:
        return [["  time", "unknown"]]
    return [
        ["  time", f"{format_seconds(plan.seconds)} for {plan.steps:,} training steps"],
        ["", plan.seconds_basis or ""],
    ]


def _known(text: str) -> str:
    return "unknown" if text == "-" else text


def _inputs(job: Job) -> list[str]:
    return [f"{role} {artifact.path} ({artifact.manifest.digest[:12]})" for role, artifact in job.inputs.items()]
