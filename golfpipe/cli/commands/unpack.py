"""`golfpipe unpack PACKED`"""

from __future__ import annotations

from typing import Annotated

import typer

from golfpipe.cli.answer import Answer
from golfpipe.cli.command import input_path, output_path
from golfpipe.cli.options import OutputOptions
from golfpipe.units import format_bytes


def unpack(
    model: Annotated[str, typer.Argument(metavar="PACKED", help="Packed model (artifact folder).")],
    options: OutputOptions,
    out: Annotated[
        str | None,
        typer.Option("-o", "--out", metavar="FILE", help="Default unpacked.safetensors beside the packed model."),
    ] = None,
) -> Answer:
    """Decode a packed model into plain fp16 safetensors for other tools.

    Reads a packed_model and checks it as it decodes. Writes one file: fp16 tensors under their own names, with the
    architecture in the metadata. The file is not an artifact: fp16 rounds the decoded weights, so the packed model's
    score is not that of the file. Imported weights (import --as weights) come back in their own types instead.

    \b
    Examples:
      golfpipe unpack artifacts/demo/pack
      golfpipe unpack artifacts/demo/pack -o artifacts/demo/plain.safetensors
    """
    from golfpipe.review.unpack import unpack_model

    done = unpack_model(input_path(model), output_path(out))
    return Answer(
        lines=[
            f"{done.form}  {done.path}  ({format_bytes(done.file_bytes)}, {done.parameters:,} parameters)",
            f"rounded to fp16: {done.rounded_share:.1%} of the weights, by at most {done.largest_error:.2g}",
        ],
        path=done.path,
        kind="safetensors",
        metrics={
            "parameters": done.parameters,
            "file_bytes": done.file_bytes,
            "largest_error": done.largest_error,
            "rounded_share": done.rounded_share,
        },
        extra={"source": str(done.source.path), "source_digest": done.source.manifest.digest},
    )
