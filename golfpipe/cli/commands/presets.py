"""`golfpipe presets`"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from golfpipe.cli.answer import Answer
from golfpipe.cli.options import OutputOptions
from golfpipe.cli.table import format_table, paragraphs
from golfpipe.units import format_bytes, format_count


def presets(
    options: OutputOptions,
    config: Annotated[
        Path | None, typer.Option(help="Pipeline file; default ./stages.yaml, else golfpipe's own.")
    ] = None,
) -> Answer:
    """List the presets, with parameters and expected bytes.

    Reads stages.yaml (or --config). Writes nothing. Bytes are those at the preset's bit widths, before entropy coding,
    which saves some more, and without the code.

    \b
    Examples:
      golfpipe presets
      golfpipe presets --json
    """
    from golfpipe.pipeline.settings import Settings
    from golfpipe.review.overview import preset_facts

    settings = Settings(config_file=config)
    facts = preset_facts(settings)
    rows = [
        [fact["name"], format_count(fact["parameters"]), format_bytes(fact["weight_bytes"]), fact["about"]]
        for fact in facts
    ]
    default = settings.stages().default_preset
    return Answer(
        lines=paragraphs(
            format_table(["preset", "parameters", "before coding", "about"], rows), [f"default: {default}"]
        ),
        path=settings.stages().path,
        extra={"presets": facts, "default_preset": default},
    )
