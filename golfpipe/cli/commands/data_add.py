"""`golfpipe data add FOLDER --tokenizer FILE`"""

from __future__ import annotations

from typing import Annotated

import typer

from golfpipe.cli.answer import Answer
from golfpipe.cli.command import input_path, output_path, run_stage
from golfpipe.cli.options import StageOptions


def data_add(
    folder: Annotated[str, typer.Argument(help="Folder of shards: *train_*.bin and *val_*.bin.")],
    options: StageOptions,
    tokenizer: Annotated[
        str | None, typer.Option(metavar="FILE", help="SentencePiece model; default the one *.model in the folder.")
    ] = None,
) -> Answer:
    """Make an existing folder of shards usable as token data; nothing is copied.

    Reads shards and their tokenizer, and records their sha256. Writes a manifest into the folder itself, or for a
    folder that must not change, an artifact elsewhere (-o) that points to it.

    \b
    Examples:
      golfpipe data add fineweb10B_sp1024 --tokenizer fineweb_1024_bpe.model
      golfpipe data add /mnt/shared/fineweb -o artifacts/data/fineweb
    """
    from golfpipe.pipeline.data_sources import add_arguments

    source = input_path(folder)
    arguments, digest = add_arguments(
        source, input_path(tokenizer) if tokenizer is not None else None, output_path(options.out)
    )
    return run_stage("data-add", options, out=source, arguments=arguments, argument_digest=digest)
