"""`golfpipe evaluate MODEL [DATA]`"""

from __future__ import annotations

from typing import Annotated

import typer

from golfpipe.cli.answer import Answer
from golfpipe.cli.command import artifact_answer, input_path, stage_request
from golfpipe.cli.options import SharedOptions
from golfpipe.cli.torchrun import Launch, work_together


def evaluate(
    model: Annotated[str, typer.Argument(help="Any model (artifact folder); an evaluation is printed as it is.")],
    options: SharedOptions,
    data: Annotated[str | None, typer.Argument(help="Token data; default that of the model.")] = None,
    shard: Annotated[
        str | None, typer.Option(metavar="I/N", help="Score part I of N only; `evaluate merge` adds the parts up.")
    ] = None,
) -> Answer | Launch | None:
    """Score a model on the validation split: nats per token and bits per byte.

    Reads any model and token_data. Writes an evaluation, by default in the folder `evaluate-NAME` beside the model
    folder NAME: val_loss_nats, val_bpb and the score of every document. With --shard, a partial_evaluation in
    `evaluate-NAME-shard-I-of-N`.

    \b
    Examples:
      golfpipe evaluate artifacts/demo/pack
      golfpipe evaluate artifacts/demo/train --set evaluate.max_targets=4096
      golfpipe evaluate artifacts/demo/pack --shard 1/2
    """
    from golfpipe.jobs.shard import parse_shard
    from golfpipe.pipeline.single import finished_evaluation, prepare, prepare_shard

    path = input_path(model)
    finished = finished_evaluation(path)
    if finished is not None:  # score-first ttt returns one; scripts need not tell the methods apart
        return artifact_answer(finished, up_to_date=True)
    paths = {"model": path, "data": input_path(data) if data is not None else None}
    request = stage_request("evaluate", options, inputs=paths)
    job = prepare(request) if shard is None else prepare_shard(request, parse_shard(shard))
    return work_together(job, options)
