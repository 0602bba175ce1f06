"""The commands that do a sweep's work, as words of a shell."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from golfpipe.jobs.registry import STAGES
from golfpipe.pipeline.single import Request

if TYPE_CHECKING:  # a plan loads what tokenizes, and `status` only looks for words
    from golfpipe.sweeps.plan import SweepCell, SweepPlan


def commands(plan: SweepPlan, config_words: Iterable[str] = ()) -> list[str]:
    """Return the shell commands that do the sweep's work, in an order in which they can run."""
    return [shlex.join(step_words(step.request, config_words)) for step in plan.steps.values()]


def cell_commands(plan: SweepPlan, cell: SweepCell, run: Path) -> list[list[str]]:
    """Return the words of the commands that make the cell's model in the run folder `run`, the same to the byte as in
    the sweep. Scores are left out: those of the sweep may be of a part of the text."""
    found, made = [], dict[Path | None, Path]()
    for step in (plan.steps[identity] for identity in cell.steps):
        if step.writes != "evaluation":
            request, sections = step.request, STAGES[step.request.stage].sections
            own = tuple(text for text in request.settings.overrides if _section(text) in sections)
            inputs = {role: made.get(path, path) for role, path in request.inputs.items()}
            made[step.out] = run / request.stage.removesuffix("-tokenize")
            settings = replace(request.settings, overrides=own)
            found.append(step_words(replace(request, inputs=inputs, settings=settings, out=made[step.out])))
    return found


def _section(override: str) -> str:
    return override.partition("=")[0].partition(".")[0]


def step_words(request: Request, config_words: Iterable[str] = ()) -> list[str]:
    """Return the words of one step's command."""
    settings, context = request.settings, request.context
    paths = [path for path in request.inputs.values() if path is not None] or request.arguments.get("sources", [])
    words = ["golfpipe", *request.stage.split("-"), *map(str, paths), "-o", str(request.out), *config_words]
    if settings.config_file is not None:
        words += ["--config", str(settings.config_file)]
    if settings.preset is not None:
        words += ["--preset", settings.preset]
    if settings.machine is not None:
        words += ["--machine", settings.machine]
    for override in settings.overrides:
        words += ["--set", override]
    if settings.seed is not None:
        words += ["--seed", str(settings.seed)]
    if context.device != "auto":
        words += ["--device", context.device]
    if context.threads is not None:
        words += ["--threads", str(context.threads)]
    return words
