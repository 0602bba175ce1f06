"""`golfpipe data tokenize FILES...`"""

from __future__ import annotations

from typing import Annotated

import typer

from golfpipe.cli.answer import Answer
from golfpipe.cli.command import input_path, run_stage, settings_of
from golfpipe.cli.options import StageOptions


def data_tokenize(
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE...", help="Text, .jsonl (field `text`), both also as .gz or .zst, or folders of them."
        ),
    ],
    options: StageOptions,
    tokenizer: Annotated[
        str | None, typer.Option(metavar="FILE", help="SentencePiece model; default one trained on the text.")
    ] = None,
    separator: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Cuts files into documents, e.g. '<|endoftext|>'.")
    ] = None,
    shard_tokens: Annotated[
        int | None, typer.Option(metavar="N", help="Tokens per shard; short for --set data.shard_tokens=N.")
    ] = None,
    processes: Annotated[int | None, typer.Option(min=1, help="Processes that encode; default all cores.")] = None,
    name: Annotated[str | None, typer.Option(help="Name of the data; default after file and vocabulary.")] = None,
) -> Answer:
    """Turn your text into token data.

    Reads text files, streamed. Writes token_data, by default in artifacts/data/NAME: train and validation shards, the
    documents divided by a hash of their text and mixed, and the tokenizer. With data.vocab_size or data.transform set,
    they are part of the default name, and the validation documents are the same ones.

    \b
    Examples:
      golfpipe data tokenize corpus.jsonl
      golfpipe data tokenize corpus.jsonl --set data.vocab_size=4096
      golfpipe data tokenize corpus.jsonl --set data.transform=caps_before_space
      golfpipe data tokenize texts/ --name books --tokenizer sp.model
    """
    from golfpipe.pipeline.data_sources import tokenize_arguments

    overrides = (f"data.shard_tokens={shard_tokens}",) if shard_tokens is not None else ()
    arguments, digest, out = tokenize_arguments(
        [input_path(text) for text in files],
        tokenizer=input_path(tokenizer) if tokenizer is not None else None,
        separator=separator,
        processes=processes,
        name=name,
        settings=settings_of(options, *overrides).resolve(),
    )
    return run_stage(
        "data-tokenize", options, out=out, arguments=arguments, argument_digest=digest, overrides=overrides
    )
