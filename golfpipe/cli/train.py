"""`golfpipe train [DATA]`"""

from __future__ import annotations

from typing import Annotated

import typer

from golfpipe.cli.answer import Answer
from golfpipe.cli.command import context_of, input_path, output_path, settings_of, work
from golfpipe.cli.options import StageOptions


def train(
    options: StageOptions,
    data: Annotated[str | None, typer.Argument(help="Token data (artifact folder); not needed with --resume.")] = None,
    name: Annotated[str | None, typer.Option(help="Name of the run; default the preset.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from an interrupted run, with its settings and data.")
    ] = False,
) -> Answer:
    """Train a model from token data.

    Reads token_data. Writes a trained_model in artifacts/NAME/train: the averaged weights and the log. Interrupted, it
    leaves a checkpoint from which the same command goes on. A trained model is replaced only with --force.

    \b
    Examples:
      golfpipe train artifacts/data/demo --preset demo
      golfpipe train artifacts/data/demo --preset tiny --name longer --set train.max_steps=500
    """
    from golfpipe.pipeline.single import Request, prepare_training

    settings = settings_of(options)
    request = Request(
        stage="train",
        inputs={"data": input_path(data) if data is not None else None},
        settings=settings,
        context=context_of(options, resume=resume),
        out=output_path(options.out),
    )
    job = prepare_training(request, name)
    if settings.preset is None and not resume:
        job.context.reporter.note(f"no --preset given: using {settings.stages().default_preset}")
    return work(job, options)
