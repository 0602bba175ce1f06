"""`golfpipe presets`"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

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
    """List the presets with parameters and expected bytes, and the machines with expected seconds of training.

    Reads stages.yaml (or --config). Writes nothing. Bytes are those at the preset's bit widths, before entropy coding,
    which saves some more, and without the code. Seconds are those of training's clock, from the operations of a step
    and the rate of each machine; `train --dry-run --measure` measures them on yours.

    \b
    Examples:
      golfpipe presets
      golfpipe presets --json
    """
    from golfpipe.pipeline.settings import Settings
    from golfpipe.review.overview import preset_facts

    settings = Settings(config_file=config)
    facts, stages = preset_facts(settings), settings.stages()
    rows = [
        [fact["name"], format_count(fact["parameters"]), format_bytes(fact["weight_bytes"]), fact["about"]]
        for fact in facts
    ]
    machines = list(stages.machines.values())
    times = [[fact["name"], *map(_time, fact["training"].values())] for fact in facts if fact["training"]]
    return Answer(
        lines=paragraphs(
            format_table(["preset", "parameters", "before coding", "about"], rows),
            [f"default: {stages.default_preset}"],
            *([format_table(["steps in seconds", *stages.machines], times)] if machines else []),
            [f"--machine {machine.name}: {machine.about}; {machine.basis}" for machine in machines],
        ),
        path=stages.path,
        extra={
            "presets": facts,
            "machines": [asdict(machine) for machine in machines],
            "default_preset": stages.default_preset,
        },
    )


def _time(training: dict[str, Any]) -> str:
    """Return the steps and seconds of a training as '4,240 in 600 s'."""
    return f"{training['steps']:,} in {training['seconds']:,.0f} s"
