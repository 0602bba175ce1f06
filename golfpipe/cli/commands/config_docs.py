"""`golfpipe config docs [KEY]`"""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from golfpipe.cli.answer import Answer
from golfpipe.cli.completion import complete_key
from golfpipe.cli.layout import paragraph, text_width
from golfpipe.cli.options import OutputOptions
from golfpipe.cli.table import shortened

if TYPE_CHECKING:
    from golfpipe.review.setting_docs import SettingDocs


def config_docs(
    options: OutputOptions,
    key: Annotated[
        str,
        typer.Argument(metavar="[KEY]", help="A setting, or a section such as train.", autocompletion=complete_key),
    ] = "",
    config: Annotated[
        Path | None, typer.Option(help="Pipeline file; default ./stages.yaml, else golfpipe's own.")
    ] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print all settings as a page in Markdown.")] = False,
) -> Answer:
    """Explain a setting: meaning and unit, values, default, which stages it makes stale.

    Reads nothing but stages.yaml (or --config), for the presets that set it. Writes nothing. Without a key it lists all
    settings; a section explains each of its own.

    \b
    Examples:
      golfpipe config docs quantize.mlp.bits
      golfpipe config docs optim
      golfpipe config docs
    """
    from golfpipe.pipeline.settings import Settings
    from golfpipe.review.setting_docs import explain, settings_page, short_default

    stages = Settings(config_file=config).stages()
    if markdown:
        return Answer(lines=settings_page(stages).splitlines())
    found = explain(key, stages)
    if key:
        text = "\n\n".join(_explained(docs) for docs in found)
    else:
        lines = [
            f"{docs.key} = {shortened(short_default(docs), 30)}\n{_wrapped(_first_sentence(docs))}" for docs in found
        ]
        text = "\n".join([*lines, "\n`golfpipe config docs KEY` says more of one, or of all in a section"])
    return Answer(lines=text.splitlines(), extra={"settings": [asdict(docs) for docs in found]})


def _explained(docs: SettingDocs) -> str:
    from golfpipe.review.setting_docs import short_default, stale_words

    presets = ", ".join(f"{name} ({value})" for name, value in docs.presets)
    rows = {
        "default": short_default(docs),
        "values": docs.values,
        "rule": f"must {docs.rule}" if docs.rule else "",
        "makes stale": f"{stale_words(docs)}, and what reads it" if docs.makes_stale else "nothing",
        "used by": ", ".join(docs.used_by),
        "presets": presets,
    }
    lines = [_wrapped(docs.meaning)]
    for name, text in rows.items():
        if text:
            lines += paragraph(f"{name:11}  {text}", text_width(sys.stdout), "  ", " " * 15)
    return "\n".join([docs.key, *lines])


def _wrapped(text: str) -> str:
    return "\n".join(paragraph(text, text_width(sys.stdout), "  "))


def _first_sentence(docs: SettingDocs) -> str:
    return docs.meaning.partition(". ")[0].rstrip(".")
