"""`golfpipe ttt MODEL [DATA]`"""

from __future__ import annotations

from typing import Annotated

import typer

from golfpipe.cli.answer import Answer
from golfpipe.cli.command import input_path, stage_request
from golfpipe.cli.options import SharedOptions
from golfpipe.cli.torchrun import Launch, work_together


def ttt(
    model: Annotated[str, typer.Argument(help="Any model (artifact folder).")],
    options: SharedOptions,
    data: Annotated[str | None, typer.Argument(help="Token data; default that of the model.")] = None,
) -> Answer | Launch | None:
    """Adapt a model to the text that it is scored on.

    Reads a model, packed or not, and token_data. A method that scores each token before it learns from it writes an
    evaluation; one that learns first, as `cosine` does, writes an adapted_model, which is not eligible for a record.
    By default in the folder `ttt` beside the model.

    \b
    Examples:
      golfpipe ttt artifacts/demo/pack
      golfpipe ttt artifacts/demo/pack -o lora --set ttt.method=score_first_lora
    """
    from golfpipe.pipeline.single import prepare

    paths = {"model": input_path(model), "data": input_path(data) if data is not None else None}
    return work_together(prepare(stage_request("ttt", options, inputs=paths)), options)
