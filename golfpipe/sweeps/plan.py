"""The plan of a sweep: many settings of the stages after training, from one model, with every common step done once.

Each cell of the grid is a chain of steps. A step is named for its work (stage, deciding settings, the step before it),
so cells that agree so far share it, and a second sweep into the same folder finds what the first one made.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from golfpipe.choices import nearest
from golfpipe.config.schema import PipelineConfig, plain_config
from golfpipe.errors import ConfigError, UsageError
from golfpipe.jobs.job import Context
from golfpipe.jobs.key import job_key
from golfpipe.jobs.registry import MODEL_KINDS, STAGES, Stage, settled_by
from golfpipe.jobs.settle import settled
from golfpipe.pipeline.settings import Settings, inherited_settings
from golfpipe.pipeline.single import Request, checked_out, find_data, training_data
from golfpipe.reporter import Reporter, SilentReporter
from golfpipe.store.artifact import Artifact, open_artifact
from golfpipe.store.files import named_path
from golfpipe.store.manifest import Kind
from golfpipe.sweeps.grid import Cell, Grid, expand, override_texts

SWEEP = "sweep"
"""The folder beside the model that a sweep writes without -o."""
CELLS = "cells"
"""The folder in it that holds the steps' artifacts."""
SWEPT_STAGES = ("quantize", "pack", "ttt", "evaluate")
_DEFAULT_STAGES: dict[Kind, tuple[str, ...]] = {
    "weights": ("quantize", "pack"),
    "trained_model": ("quantize", "pack", "evaluate"),
    "quantized_model": ("pack", "evaluate"),
    "packed_model": ("evaluate",),
    "adapted_model": ("evaluate",),
}
DEFAULT_THREADS = 1
"""Threads per process: one fixed number, so that equal cells have equal digests on every machine."""
_ID_LENGTH = 12


@dataclass(frozen=True, kw_only=True)
class SweepRequest:
    """A sweep as the user asks for it."""

    model: Path
    grids: Sequence[Grid]
    data: Path | None = None
    """The token data; None means the data that the model's manifest names."""
    stages: tuple[str, ...] | None = None
    """The stages to run; None means those that lead from the model's kind to a score."""
    sample: int | None = None
    """The number of cells to draw at random, with the settings' seed; None takes all."""
    settings: Settings = field(default_factory=Settings)
    """The settings of every cell, over which the grid's values go."""
    context: Context = field(default_factory=lambda: Context(threads=DEFAULT_THREADS))
    out: Path | None = None


@dataclass(frozen=True, kw_only=True)
class SweepStep:
    """One piece of work, shared by every cell that needs it."""

    id: str
    """The name of the work: a key with the id of the step before instead of its digest, not known yet."""
    parent: str | None
    """The id of the step whose artifact it reads; None means the model itself."""
    writes: Kind
    request: Request

    @property
    def out(self) -> Path:
        assert self.request.out is not None
        return self.request.out


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
    model: Artifact
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
    """Expand the grid and check every cell's settings. Raises ConfigError, UsageError, ArtifactError."""
    model = open_artifact(request.model, "weights", *MODEL_KINDS)
    names = request.stages or _DEFAULT_STAGES[model.manifest.kind]
    _check_stages(names)
    keys = tuple(dict.fromkeys(key for grid in request.grids for key in grid))
    if not keys:
        raise UsageError("a sweep needs a grid", hint="--grid quantize.mlp.bits=3,4,5")
    _check_keys(keys, names)
    cells = expand(request.grids, sample=request.sample, seed=request.settings.seed or 0)
    out = request.out or named_path(model.path).parent / SWEEP
    builder = _Builder(request, model, names, checked_out(out))
    chains = [
        SweepCell(settings=cell, unquantized=builder.unquantized(cell), steps=builder.chain(cell)) for cell in cells
    ]
    return SweepPlan(
        folder=builder.folder,
        model=model,
        cells=tuple(chains),
        steps=builder.steps,
        keys=keys,
        reporter=request.context.reporter,
    )


class _Builder:
    """Collects the steps of the cells, each once."""

    def __init__(self, request: SweepRequest, model: Artifact, names: Sequence[str], folder: Path) -> None:
        self.request, self.model, self.names, self.folder = request, model, names, folder
        self.steps: dict[str, SweepStep] = {}
        self.inherited = inherited_settings(model, request.context.reporter.warn)
        self.data = self._find_data()
        self.calibrates = self.data is not None and (request.data is not None or training_data(model) is not None)

    def chain(self, cell: Cell) -> tuple[str, ...]:
        """Return the ids of the cell's steps, and add the steps that are new. Raises ConfigError naming the cell."""
        config = self._config(cell)
        kind, parent, ids = self.model.manifest.kind, None, list[str]()
        for position, name in enumerate(self.names):
            stage = STAGES[name]
            if kind == "evaluation" and name == "evaluate":  # score-first ttt has scored already
                continue
            if kind not in stage.inputs["model"]:
                takes = " or ".join(stage.inputs["model"])
                raise ConfigError(f"--stages {','.join(self.names)}: {name} takes a {takes}, here it gets a {kind}")
            known = _known_by(cell, self.names[: position + 1], config)
            ids.append(self._step(stage, config, parent, override_texts(known)))
            parent, kind = ids[-1], self.steps[ids[-1]].writes
        return tuple(ids)

    def unquantized(self, cell: Cell) -> str | None:
        """Return the id of the step that scores the model as it is, and add it if it is new; None for cells that leave
        the weights alone, or have no score by windows."""
        if not {"quantize", "evaluate"} <= set(self.names):
            return None
        config, names = self._config(cell), ("evaluate",)
        return self._step(STAGES["evaluate"], config, None, override_texts(_known_by(cell, names, config)))

    def _step(self, stage: Stage, config: PipelineConfig, parent: str | None, overrides: tuple[str, ...]) -> str:
        config = settled(stage, config, data_at_hand=self.calibrates)
        inputs = {"model": self.model.path if parent is None else self.steps[parent].out}
        digests = {"model": parent or self.model.manifest.digest}
        data = self.data if "data" in stage.roles(plain_config(config)) else None
        if data is not None:
            inputs["data"], digests["data"] = data.path, data.manifest.digest
        identity = job_key(stage, config, digests)[:_ID_LENGTH]
        if identity not in self.steps:
            self.steps[identity] = SweepStep(
                id=identity,
                parent=parent,
                writes=stage.writes(plain_config(config)),
                request=Request(
                    stage=stage.name,
                    inputs=inputs,
                    settings=self.request.settings.with_overrides(*overrides),
                    context=replace(self.request.context, reporter=SilentReporter()),
                    out=self.folder / CELLS / f"{stage.name}-{identity}",
                ),
            )
        return identity

    def _config(self, cell: Cell) -> PipelineConfig:
        settings = self.request.settings.with_overrides(*override_texts(cell))
        return settings.resolve(inherited=self.inherited, decided=settled_by(self.model.manifest.kind)).config

    def _find_data(self) -> Artifact | None:
        if self.request.data is not None:
            return open_artifact(self.request.data, "token_data")
        if any(name in ("ttt", "evaluate") for name in self.names):
            return find_data(self.model)
        return training_data(self.model) if "quantize" in self.names else None


def _known_by(cell: Cell, names: Sequence[str], config: PipelineConfig) -> Cell:
    """Return the cell's settings that matter to the named stages; cells that agree in them share the step."""
    plain = plain_config(config)
    return {key: value for key, value in cell.items() if any(STAGES[name].heeds(key, plain) for name in names)}


def commands(plan: SweepPlan, config_words: Iterable[str] = ()) -> list[str]:
    """Return the shell commands that do the sweep's work, in an order in which they can run."""
    return [shlex.join(step_words(step.request, config_words)) for step in plan.steps.values()]


def cell_commands(plan: SweepPlan, cell: SweepCell, run: Path) -> list[list[str]]:
    """Return the words of the commands that make the cell's model in the run folder `run`, the same to the byte as in
    the sweep. Scores are left out: those of the sweep may be of a part of the text."""
    found, source = [], plan.model.path
    for step in (plan.steps[identity] for identity in cell.steps):
        if step.writes != "evaluation":
            request, sections = step.request, STAGES[step.request.stage].sections
            own = tuple(text for text in request.settings.overrides if text.partition(".")[0] in sections)
            settings = replace(request.settings, overrides=own)
            inputs, out = {**request.inputs, "model": source}, run / request.stage
            found.append(step_words(replace(request, inputs=inputs, settings=settings, out=out)))
            source = out
    return found


def step_words(request: Request, config_words: Iterable[str] = ()) -> list[str]:
    """Return the words of one step's command."""
    settings, context = request.settings, request.context
    paths = [str(path) for path in request.inputs.values() if path is not None]
    words = ["golfpipe", request.stage, *paths, "-o", str(request.out), *config_words]
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


def _check_stages(names: Sequence[str]) -> None:
    unknown = [name for name in names if name not in SWEPT_STAGES]
    if unknown or not names:
        found = ", ".join(unknown) or "none"
        raise ConfigError(f"--stages: {found} cannot be swept", hint=nearest(found, SWEPT_STAGES))
    if len(set(names)) < len(names) or sorted(names, key=SWEPT_STAGES.index) != list(names):
        raise ConfigError(f"--stages {','.join(names)}: expected each once, in the order {', '.join(SWEPT_STAGES)}")


def _check_keys(keys: Sequence[str], names: Sequence[str]) -> None:
    """Check that some stage heeds each key; otherwise all cells along it would be the same. Raises ConfigError."""
    sections = {section for name in names for section in STAGES[name].sections}
    for key in keys:
        section = key.partition(".")[0]
        if section not in sections:
            owner = next((name for name in SWEPT_STAGES if section in STAGES[name].sections), None)
            raise ConfigError(
                f"--grid {key}: decides nothing in the stages {', '.join(names)}",
                hint=f"--stages with {owner} among them" if owner else "train again with --set, once per value",
            )
