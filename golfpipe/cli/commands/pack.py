"""`golfpipe pack QUANTIZED`"""

from __future__ import annotations

from typing import Annotated

import typer

from golfpipe.cli.answer import Answer
from golfpipe.cli.command import input_path, run_stage
from golfpipe.cli.options import StageOptions


def pack(
    model: Annotated[str, typer.Argument(metavar="QUANTIZED", help="Quantized model (artifact folder).")],
    options: StageOptions,
    limit_bytes: Annotated[
        int | None,
        typer.Option(metavar="N", help="Limit for weights and code, in bytes; short for --set pack.limit_bytes=N."),
    ] = None,
) -> Answer:
    """Entropy-code quantized weights into the one file whose bytes count.

    Reads a quantized_model. Writes a packed_model, by default in the folder `pack` beside it. Over the limit it exits
    4, with the artifact complete.

    \b
    Examples:
      golfpipe pack artifacts/demo/quantize
      golfpipe pack $(golfpipe quantize -q artifacts/demo/train)
      golfpipe pack artifacts/demo/quantize --limit-bytes 1000000
    """
    overrides = (f"pack.limit_bytes={limit_bytes}",) if limit_bytes is not None else ()
    return run_stage("pack", options, inputs={"model": input_path(model)}, overrides=overrides)
