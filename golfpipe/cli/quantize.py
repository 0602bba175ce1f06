"""`golfpipe quantize MODEL`"""

from __future__ import annotations

from typing import Annotated

import typer

from golfpipe.cli.answer import Answer
from golfpipe.cli.command import input_path, run_stage
from golfpipe.cli.options import StageOptions


def quantize(
    model: Annotated[str, typer.Argument(help="Trained model (artifact folder).")],
    options: StageOptions,
) -> Answer:
    """Quantize trained weights row by row and record the error.

    Reads a trained_model. Writes a quantized_model, by default in the folder `quantize` beside it: codes and fp16
    scales, and the error and entropy of every tensor.

    \b
    Examples:
      golfpipe quantize artifacts/demo/train
      golfpipe quantize artifacts/demo/train -o artifacts/demo-int5/quantize --set quantize.mlp.bits=5
    """
    return run_stage("quantize", options, inputs={"model": input_path(model)})
