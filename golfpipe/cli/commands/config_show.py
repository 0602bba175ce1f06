"""`golfpipe config show [ARTIFACT]`"""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from golfpipe.cli.answer import Answer
from golfpipe.cli.command import input_path, settings_of
from golfpipe.cli.options import ConfigOptions
from golfpipe.cli.progress import make_reporter
from golfpipe.cli.table import format_table, paragraphs


def config_show(
    options: ConfigOptions,
    artifact: Annotated[
        str | None, typer.Argument(help="Start from this artifact's settings, as a later command would.")
    ] = None,
    origin: Annotated[
        bool,
        typer.Option("--origin", help="Show only settings that are not golfpipe's defaults, sorted by what set them."),
    ] = False,
) -> Answer:
    """Show every setting, where its value comes from, and the sizes of the model.

    Reads stages.yaml (or --config) and, if given, an artifact. Writes nothing.

    \b
    Examples:
      golfpipe config show --preset 16l
      golfpipe config show --preset 16l --origin
      golfpipe config show --preset tiny --set model.num_layers=6
    """
    from golfpipe.review.overview import model_facts, show_settings

    settings = settings_of(options)
    path = input_path(artifact) if artifact is not None else None
    resolved, values = show_settings(settings, path, make_reporter(quiet=options.quiet, verbose=options.verbose).warn)
    rows = [[key, _short(value), resolved.origin[key]] for key, value in values.items()]
    if origin:
        rows = sorted((row for row in rows if row[2] != "default"), key=lambda row: row[2])
    facts = model_facts(resolved.config)
    about = format_table([], [[name, _short(value)] for name, value in facts.items()])
    return Answer(
        lines=paragraphs(format_table(["key", "value", "from"], rows), ["the model", *about]),
        path=settings.stages().path,
        metrics={"parameters": facts["parameters"]},
        extra={"config": values, "origin": dict(resolved.origin), "model": facts},
    )


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 72 else text[:69] + "..."
