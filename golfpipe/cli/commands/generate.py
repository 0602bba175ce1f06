"""`golfpipe generate MODEL --prompt TEXT`"""

from __future__ import annotations

import itertools
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from golfpipe.cli.answer import Answer
from golfpipe.cli.command import input_path
from golfpipe.cli.options import Device, OutputOptions
from golfpipe.cli.terminal import print_message, prompted_lines, write_answer
from golfpipe.errors import UsageError
from golfpipe.visible import visible

if TYPE_CHECKING:
    from golfpipe.review.generation import GenerationSettings, Generator


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
    interactive: Annotated[
        bool, typer.Option("--interactive", help="Go on from each line of stdin, until Ctrl-D; the model stays loaded.")
    ] = False,
    device: Annotated[Device, typer.Option(help="auto takes cuda, then mps, then cpu.")] = Device.auto,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads.")] = None,
) -> Answer:
    """Write text with a model, to see what its bytes have learned.

    Reads any model, and the tokenizer of its token_data. Writes the text to stdout as it is drawn; no files. An empty
    line stands where the model begins another document. Control characters are shown as escapes, since they act on a
    terminal; --raw writes them. With --interactive every line is a prompt, and the n-th one after the first is drawn
    with the seed S + n.

    \b
    Examples:
      golfpipe generate artifacts/demo/pack --prompt "The function" --tokens 40
      golfpipe generate artifacts/demo/train --temperature 0.5 --top-k 40 --seed 7
      golfpipe generate artifacts/demo/pack --interactive --tokens 40
    """
    from golfpipe.review.generation import GenerationSettings, Generator

    if interactive and (options.json or prompt):
        given = "--json" if options.json else "--prompt"
        raise UsageError(f"--interactive and {given} exclude each other", hint=f"leave out {given}: lines are prompts")
    settings = GenerationSettings(
        prompt=_readable(prompt), tokens=tokens, temperature=temperature, top_k=top_k, seed=seed
    )
    tokenizer_data = input_path(data) if data is not None else None
    generator = Generator(input_path(model), data=tokenizer_data, device=device.value, threads=threads)
    if options.json:
        text = "".join(generator.text(settings))
        return Answer(path=input_path(model), extra={"prompt": settings.prompt, "text": text})
    if interactive:
        _go_on_from_lines(generator, settings, raw=raw, quiet=options.quiet)
    else:
        _write(generator, settings, raw=raw)
    return Answer()


def _go_on_from_lines(generator: Generator, settings: GenerationSettings, *, raw: bool, quiet: bool) -> None:
    if not quiet and sys.stdin.isatty():
        print_message("Type the beginning of a text; the model goes on. Ctrl-D ends.")
    for number, line in enumerate(prompted_lines("> ")):
        seed = (settings.seed + number) % 2**63  # within the range of seeds, whatever the first one was
        _write(generator, replace(settings, prompt=_readable(line), seed=seed), raw=raw)


def _write(generator: Generator, settings: GenerationSettings, *, raw: bool) -> None:
    """Write the prompt and what follows as it is drawn, and end the line."""
    for piece in itertools.chain([settings.prompt], generator.text(settings), ["\n"]):
        write_answer(piece if raw else visible(piece))


def _readable(text: str) -> str:
    """Return the text with U+FFFD for bytes that are no text."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
