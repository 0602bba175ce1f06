"""`golfpipe evaluate MODEL [DATA]`"""

from __future__ import annotations

from typing import Annotated

import typer

from golfpipe.cli.answer import Answer
from golfpipe.cli.command import artifact_answer, input_path, run_stage
from golfpipe.cli.options import StageOptions


def evaluate(
    model: Annotated[str, typer.Argument(help="Any model (artifact folder); an evaluation is printed as it is.")],
    options: StageOptions,
    data: Annotated[str | None, typer.Argument(help="Token data; default that of the model.")] = None,
) -> Answer:
    """Score a model on the validation split: nats per token and bits per byte.

    Reads any model and token_data. Writes an evaluation, by default in the folder `evaluate-NAME` beside the model
    folder NAME: val_loss_nats, val_bpb and the score of every document.

    \b
    Examples:
      golfpipe evaluate artifacts/demo/pack
      golfpipe evaluate artifacts/demo/train -o artifacts/demo/quick --set evaluate.method=chunked --set evaluate.max_targets=4096
    """
    from golfpipe.pipeline.single import finished_evaluation

    path = input_path(model)
    finished = finished_evaluation(path)
    if finished is not None:  # what score-first ttt returns; so scripts need not tell the methods apart
        return artifact_answer(finished, up_to_date=True)
    paths = {"model": path, "data": input_path(data) if data is not None else None}
    return run_stage("evaluate", options, inputs=paths)
