"""`golfpipe generate MODEL --prompt TEXT`"""

from __future__ import annotations

import itertools
from typing import Annotated

import typer

from golfpipe.cli.answer import Answer
from golfpipe.cli.command import input_path
from golfpipe.cli.options import Device, OutputOptions
from golfpipe.cli.terminal import write_answer
from golfpipe.visible import visible


def generate(
    model: Annotated[str, typer.Argument(help="Any model (artifact folder).")],
    options: OutputOptions,
    prompt: Annotated[
        str, typer.Option(metavar="TEXT", help="Text to go on from; default the start of a document.")
    ] = "",
    tokens: Annotated[int, typer.Option(metavar="N", min=1, help="Tokens to draw.")] = 200,
    temperature: Annotated[
        float, typer.Option(metavar="T", min=0, help="Below 1 is safer; 0 takes the likeliest.")
    ] = 0.8,
    top_k: Annotated[int, typer.Option(metavar="K", min=0, help="Draw from the K likeliest tokens; 0: from all.")] = 0,
    seed: Annotated[
        int, typer.Option(metavar="S", min=0, max=2**63 - 1, help="The same seed gives the same text.")
    ] = 0,
    data: Annotated[
        str | None, typer.Option(metavar="DATA", help="Token data whose tokenizer to use; default the model's.")
    ] = None,
    raw: Annotated[
        bool, typer.Option("--raw", help="Write control characters as they are; default as escapes like \\x1b.")
    ] = False,
    device: Annotated[Device, typer.Option(help="auto takes cuda, then mps, then cpu.")] = Device.auto,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads.")] = None,
) -> Answer:
    """Write text with a model, to see what its bytes have learned.

    Reads any model, and the tokenizer of its token_data. Writes the text to stdout as it is drawn; no files. An empty
    line stands where the model begins another document. Control characters are shown as escapes, since they act on a
    terminal; --raw writes them.

    \b
    Examples:
      golfpipe generate artifacts/demo/pack --prompt "The function returns" --tokens 40
      golfpipe generate artifacts/demo/train --tokens 40 --temperature 0.5 --top-k 40 --seed 7
    """
    from golfpipe.review.generation import GenerationSettings, generate_text

    prompt = prompt.encode("utf-8", "surrogateescape").decode("utf-8", "replace")  # bytes that are no text
    pieces = generate_text(
        input_path(model),
        GenerationSettings(prompt=prompt, tokens=tokens, temperature=temperature, top_k=top_k, seed=seed),
        data=input_path(data) if data is not None else None,
        device=device.value,
        threads=threads,
    )
    if options.json:
        return Answer(path=input_path(model), extra={"prompt": prompt, "text": "".join(pieces)})
    for piece in itertools.chain([prompt], pieces):
        write_answer(piece if raw else visible(piece))
    if options.quiet:
        write_answer("\n")
    return Answer(lines=[""])  # ends the line
