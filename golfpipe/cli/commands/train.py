"""`golfpipe train [DATA]`"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from golfpipe.cli.answer import Answer
from golfpipe.cli.command import context_of, input_path, output_path, plan_answer, settings_of
from golfpipe.cli.options import SharedOptions
from golfpipe.cli.torchrun import Launch, wanted_processes, work_together
from golfpipe.errors import UsageError

if TYPE_CHECKING:
    from golfpipe.jobs.job import Job
    from golfpipe.pipeline.settings import Settings
    from golfpipe.pipeline.single import Request


def train(
    options: SharedOptions,
    data: Annotated[str | None, typer.Argument(help="Token data (artifact folder); not needed with --resume.")] = None,
    name: Annotated[str | None, typer.Option(help="Name of the run; default the preset.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from an interrupted run, with its settings and data.")
    ] = False,
    init: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Start from this model's weights, with its architecture.")
    ] = None,
    auto_batch: Annotated[
        bool,
        typer.Option(
            "--auto-batch",
            help="Where memory runs out, go on with fewer sequences per pass; short for --set train.auto_batch=true.",
        ),
    ] = False,
    precision: Annotated[
        str | None, typer.Option(help="fp32, bf16 or auto (the faster one here); short for --set train.precision=...")
    ] = None,
    qat_bits: Annotated[
        float | None,
        typer.Option(
            min=1,
            max=8,
            help="Quantization-aware training for an export with this quantize.target_bits; short for --set"
            " train.qat.mlp.step=..., and so on for attention and ngram.",
        ),
    ] = None,
    replay: Annotated[
        str | None,
        typer.Option(metavar="LOG", help="Repeat a run that the clock had steered: a trained model, or its log.jsonl."),
    ] = None,
    measure: Annotated[
        bool, typer.Option("--measure", help="With --dry-run: run a few steps, to tell how long training takes.")
    ] = False,
) -> Answer | Launch | None:
    """Train a model from token data.

    Reads token_data, with --init also a model, with --replay a log. Writes a trained_model in artifacts/NAME/train: the
    averaged weights and the log. If it is interrupted, it leaves a checkpoint from which the same command goes on. A
    trained model is replaced only with --force. --dry-run checks all that training would refuse, and tells the time.

    \b
    Examples:
      golfpipe train artifacts/data/demo --preset demo
      golfpipe train artifacts/data/demo --name longer --set train.max_steps=500
      golfpipe train artifacts/data/demo --init artifacts/demo/train --name warm
      golfpipe train artifacts/data/demo --name three --qat-bits 3
      golfpipe train artifacts/data/demo --replay artifacts/demo/train --name b
      golfpipe train artifacts/data/demo --name try --dry-run --measure
    """
    from golfpipe.pipeline.training import prepare_training

    settings = settings_of(options, *_overrides(auto_batch, precision, qat_bits))
    job = prepare_training(_request(options, settings, data=data, init=init, replay=replay, resume=resume), name)
    _check_start(job, qat_bits)
    if settings.preset is None and not resume:
        job.context.reporter.note(f"no --preset given: using {settings.stages().default_preset}")
    return _plan(job, options, settings, measure) if options.dry_run or measure else work_together(job, options)


def _plan(job: Job, options: SharedOptions, settings: Settings, measure: bool) -> Answer:
    from golfpipe.pipeline.dry_run import plan_training

    if not options.dry_run:
        raise UsageError("--measure is for --dry-run", hint="golfpipe train ... --dry-run --measure")
    machines = settings.stages().machines
    return plan_answer(plan_training(job, wanted_processes(options), machines, settings.machine, measure=measure))


def _overrides(auto_batch: bool, precision: str | None, qat_bits: float | None) -> list[str]:
    """Return what the short options stand for, as with --set."""
    from golfpipe.pipeline.settings import qat_overrides

    short = [("train.auto_batch=true", auto_batch), (f"train.precision={precision}", precision is not None)]
    return [*(text for text, given in short if given), *(qat_overrides(qat_bits) if qat_bits is not None else [])]


def _request(
    options: SharedOptions, settings: Settings, *, data: str | None, init: str | None, replay: str | None, resume: bool
) -> Request:
    from golfpipe.loading.replay_log import replay_arguments
    from golfpipe.pipeline.single import Request

    arguments, digest = replay_arguments(input_path(replay)) if replay is not None else ({}, "")
    return Request(
        stage="train",
        inputs={
            "data": input_path(data) if data is not None else None,
            "init": input_path(init) if init is not None else None,
        },
        settings=settings,
        context=context_of(options, resume=resume),
        out=output_path(options.out),
        arguments=arguments,
        argument_digest=digest,
    )


def _check_start(job: Job, qat_bits: float | None) -> None:
    """Raise UsageError where quantization-aware training was asked for and would never start."""
    if qat_bits is not None and job.config.train.qat_start >= 1:
        raise UsageError(
            "--qat-bits has no effect with train.qat_start=1: quantization-aware training never starts",
            hint="--set train.qat_start=0.8",
        )
