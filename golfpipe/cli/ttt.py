"""`golfpipe ttt MODEL [DATA]`"""

from __future__ import annotations

from typing import Annotated

import typer

from golfpipe.cli.answer import Answer
from golfpipe.cli.command import input_path, run_stage
from golfpipe.cli.options import StageOptions


def ttt(
    model: Annotated[str, typer.Argument(help="Any model (artifact folder).")],
    options: StageOptions,
    data: Annotated[str | None, typer.Argument(help="Token data; default that of the model.")] = None,
) -> Answer:
    """Adapt a model to the text that it is scored on.

    Reads a model, packed or not, and token_data. The method `cosine` writes an adapted_model, which is not eligible
    for a record; `score_first_lora` and `score_first_sgd` score each token before they learn from it and write an
    evaluation. By default in the folder `ttt` beside the model.

    \b
    Examples:
      golfpipe ttt artifacts/demo/pack
      golfpipe ttt artifacts/demo/pack -o artifacts/demo/lora --set ttt.method=score_first_lora --set ttt.epochs=1
    """
    paths = {"model": input_path(model), "data": input_path(data) if data is not None else None}
    return run_stage("ttt", options, inputs=paths)
