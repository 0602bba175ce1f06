"""The plan of a sweep: many settings of the stages after a model, token data or text, with every common step done once.

Each cell of the grid is a chain of steps. A step is named for its work (stage, deciding settings, the step before it),
so cells that agree so far share it, and a second sweep into the same folder finds what the first one made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from golfpipe.choices import nearest
from golfpipe.config.schema import plain_config, setting_value
from golfpipe.errors import ConfigError, UsageError
from golfpipe.jobs.job import Context
from golfpipe.jobs.registry import STAGES
from golfpipe.pipeline.settings import Settings
from golfpipe.pipeline.single import checked_out
from golfpipe.reporter import Reporter
from golfpipe.sweeps.chains import ChainBuilder, SweepStep
from golfpipe.sweeps.grid import Cell, Grid, expand, leave_one_out
from golfpipe.sweeps.source import Source, open_source

SWEPT_STAGES = ("data-tokenize", "train", "quantize", "pack", "ttt", "evaluate")
DEFAULT_THREADS = 1
"""Threads per process: one fixed number, so that equal cells have equal digests on every machine."""


@dataclass(frozen=True, kw_only=True)
class SweepRequest:
    """A sweep as the user asks for it."""

    source: Path
    """A model, token data, or text."""
    grids: Sequence[Grid]
    seeds: tuple[int, ...] = ()
    """The seeds with which every cell is trained; none means that of the settings."""
    without: Cell = field(default_factory=dict)
    """Keys of which each is left out once, with the values that leave them out; None means golfpipe's default."""
    data: Path | None = None
    """The token data; None means the data that the model's manifest names."""
    stages: tuple[str, ...] | None = None
    """The stages to run; None means those that lead from the source to a score."""
    sample: int | None = None
    """The number of cells to draw at random, with the settings' seed; None takes all."""
    settings: Settings = field(default_factory=Settings)
    """The settings of every cell, over which the grid's values go."""
    context: Context = field(default_factory=lambda: Context(threads=DEFAULT_THREADS))
    out: Path | None = None


@dataclass(frozen=True, kw_only=True)
class SweepCell:
    """One point of the grid: its settings, and the ids of the steps that lead to its score, first one first."""

    settings: Cell
    steps: tuple[str, ...]
    unquantized: str | None = None
    """The id of the step that scores the model's own weights in the cell's windows; None where nothing is quantized."""


@dataclass(frozen=True, kw_only=True)
class SweepPlan:
    """A checked sweep, ready to run."""

    folder: Path
    source: Source
    cells: tuple[SweepCell, ...]
    steps: dict[str, SweepStep]
    """The steps by id; a step comes after the one that it reads."""
    keys: tuple[str, ...]
    """The dotted keys that the cells set, in the order of the grids."""
    reporter: Reporter
    """Receives the warnings of the steps, each once."""

    @property
    def num_unshared(self) -> int:
        """The number of steps that there would be if the cells shared none."""
        return sum(len(cell.steps) + (cell.unquantized is not None) for cell in self.cells)


def plan_sweep(request: SweepRequest) -> SweepPlan:
    """Expand the grid and check every cell's settings. Raises ConfigError, UsageError, ArtifactError, DataError."""
    source = open_source(request.source)
    if not source.is_model and request.settings.preset is None:
        preset = request.settings.stages().default_preset
        request.context.reporter.note(f"no --preset given: using {preset}")
        request = replace(request, settings=replace(request.settings, preset=preset))
    names = source.stages(request.stages)
    _check_stages(names)
    builder = ChainBuilder(
        source,
        names,
        settings=request.settings,
        context=request.context,
        data=request.data,
        folder=checked_out(request.out or source.default_folder()),
    )
    grids = _all_grids(request, builder)
    keys = tuple(dict.fromkeys(key for grid in grids for key in grid))
    if not keys:
        raise UsageError("a sweep needs a grid", hint="--grid quantize.mlp.bits=3,4,5")
    _check_keys(keys, names, source)
    cells = expand(grids, sample=request.sample, seed=request.settings.seed or 0)
    _check_text(cells, builder)
    chains = []
    for cell in cells:
        steps, unquantized = builder.chain(cell)
        chains.append(SweepCell(settings=cell, steps=steps, unquantized=unquantized))
    return SweepPlan(
        folder=builder.folder,
        source=source,
        cells=tuple(chains),
        steps=builder.steps,
        keys=keys,
        reporter=request.context.reporter,
    )


def _all_grids(request: SweepRequest, builder: ChainBuilder) -> list[Grid]:
    """Return the grids with the keys that are left out in turn, and the seeds, which vary fastest."""
    grids = list(request.grids)
    if request.without:
        grids = leave_one_out(grids or [{}], request.without, plain_config(builder.config({})))
    if not request.seeds:
        return grids
    if any("seed" in grid for grid in grids) or request.settings.seed is not None:
        raise UsageError("--seeds and another seed exclude each other", hint="name every seed in --seeds")
    return [{**grid, "seed": list(request.seeds)} for grid in grids or [{}]]


def _check_stages(names: Sequence[str]) -> None:
    unknown = [name for name in names if name not in SWEPT_STAGES]
    if unknown or not names:
        found = ", ".join(unknown) or "none"
        raise ConfigError(f"--stages: {found} cannot be swept", hint=nearest(found, SWEPT_STAGES))
    if len(set(names)) < len(names) or sorted(names, key=SWEPT_STAGES.index) != list(names):
        raise ConfigError(f"--stages {','.join(names)}: expected each once, in the order {', '.join(SWEPT_STAGES)}")


def _check_keys(keys: Sequence[str], names: Sequence[str], source: Source) -> None:
    """Check that some stage heeds each key; otherwise all cells along it would be the same. Raises ConfigError."""
    sections = {section for name in names for section in STAGES[name].sections}
    for key in keys:
        section = key.partition(".")[0]
        if key == "model.vocab_size" and not source.is_model:
            raise ConfigError("--grid model.vocab_size: follows the tokenizer", hint="text, and --grid data.vocab_size")
        if section not in sections:
            owner = next((name for name in SWEPT_STAGES if section in STAGES[name].sections), None)
            begins = {"data-tokenize": "text", "train": "token data or text"}
            hint = f"--stages with {owner} among them" if owner else "train again with --set, once per value"
            if owner in begins and owner not in names:
                hint = f"give {begins[owner]} in place of {source.path}: then every cell has a {owner} of its own"
            raise ConfigError(f"--grid {key}: decides nothing in the stages {', '.join(names)}", hint=hint)


def _check_text(cells: Sequence[Cell], builder: ChainBuilder) -> None:
    """Check that cells with different tokenizers score the same text. Raises ConfigError."""
    if len({cell.get("data.vocab_size") for cell in cells}) < 2 or "evaluate" not in builder.names:
        return
    targets = [setting_value(plain_config(builder.config(cell)), "evaluate.max_targets") for cell in cells]
    if any(targets):
        raise ConfigError(
            f"evaluate.max_targets={max(targets)} counts tokens, so that each vocabulary would be scored on other text",
            hint="--set evaluate.max_targets=0",
        )
