"""`golfpipe quantize MODEL [DATA]`"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from golfpipe.cli.answer import Answer
from golfpipe.cli.command import input_path, run_stage
from golfpipe.cli.options import StageOptions


def quantize(
    model: Annotated[str, typer.Argument(help="Trained model (artifact folder).")],
    options: StageOptions,
    data: Annotated[str | None, typer.Argument(help="Token data to calibrate on; default that of the model.")] = None,
    calibration_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="What errors of imported weights cost, as Calibration.save wrote it."),
    ] = None,
) -> Answer:
    """Quantize trained weights and record the error; on request, to an exact packed size.

    Reads a trained_model, and token_data with quantize.calibration=train; or imported weights of any model, which need
    a target. Writes a quantized_model, by default in the folder `quantize` beside it: codes and fp16 scales, and the
    error and entropy of every tensor.

    \b
    Examples:
      golfpipe quantize artifacts/demo/train
      golfpipe quantize artifacts/demo/train -o int5 --set quantize.mlp.bits=5
      golfpipe quantize artifacts/demo/train --set quantize.target_bytes=limit
      golfpipe quantize artifacts/theirs/import --calibration-file c.safetensors
    """
    paths = {"model": input_path(model), "data": input_path(data) if data is not None else None}
    if calibration_file is None:
        return run_stage("quantize", options, inputs=paths)
    from golfpipe.pipeline.text_digest import files_digest

    return run_stage(
        "quantize",
        options,
        inputs=paths,
        arguments={"calibration_file": calibration_file},
        argument_digest=files_digest([calibration_file]),
    )
