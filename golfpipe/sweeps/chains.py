"""The chains of steps that lead from a sweep's source to the scores of its cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from golfpipe.config.schema import PipelineConfig, plain_config
from golfpipe.errors import ConfigError
from golfpipe.jobs.job import Context
from golfpipe.jobs.key import job_key
from golfpipe.jobs.registry import STAGES, Stage
from golfpipe.jobs.settle import settled
from golfpipe.pipeline.settings import Settings
from golfpipe.pipeline.single import Request, find_data, training_data
from golfpipe.report.run_data import CELLS
from golfpipe.reporter import SilentReporter
from golfpipe.store.artifact import Artifact, open_artifact
from golfpipe.store.manifest import Kind
from golfpipe.sweeps.grid import Cell, override_texts
from golfpipe.sweeps.source import Source

_ID_LENGTH = 12


@dataclass(frozen=True, kw_only=True)
class SweepStep:
    """One piece of work, shared by every cell that needs it."""

    id: str
    """The name of the work: a key with the id of the step before instead of its digest, not known yet."""
    parent: str | None
    """The id of the step whose artifact it reads; None means the source itself."""
    writes: Kind
    request: Request

    @property
    def out(self) -> Path:
        assert self.request.out is not None
        return self.request.out


class _Link(NamedTuple):
    """An artifact on the way of a cell: one that is there, or the output of the step `id`."""

    id: str | None
    path: Path
    digest: str
    kind: Kind | None
    stages: tuple[str, ...] = ()
    """The stages that made it within the sweep."""


class ChainBuilder:
    """Collects the steps of the cells, each once."""

    def __init__(
        self,
        source: Source,
        names: Sequence[str],
        *,
        settings: Settings,
        context: Context,
        data: Path | None,
        folder: Path,
    ) -> None:
        """Lead from the source through the stages `names` in `folder`. `data`: the token data of a model, if given."""
        self.source, self.names, self.folder = source, tuple(names), folder
        self.settings, self.context = settings, context
        self.steps: dict[str, SweepStep] = {}
        self.inherited = source.inherited(context.reporter.warn)
        found = self._find_data(data)
        self.data = _Link(None, found.path, found.manifest.digest, "token_data") if found is not None else None
        self.calibrates = not source.is_model or (
            found is not None and (data is not None or self._training_data() is not None)
        )

    def chain(self, cell: Cell) -> tuple[tuple[str, ...], str | None]:
        """Return the ids of the cell's steps, and that of the step that scores its unquantized weights, and add the
        steps that are new. Raises ConfigError naming the cell."""
        config = self.config(cell)
        if self.source.kind is None and config.data.vocab_size:
            cell = {**cell, "model.vocab_size": config.data.vocab_size}
        link = _Link(None, self.source.path, self.source.digest, self.source.kind)
        data, ids = self.data, list[str]()
        unquantized = self._unquantized(cell, config, link, data) if self.source.is_model else None
        for name in self.names:
            stage = STAGES[name]
            if link.kind == "evaluation" and name == "evaluate":  # score-first ttt has scored already
                continue
            takes: tuple[Kind | None, ...] = next(iter(stage.inputs.values()), (None,))
            if link.kind not in takes:
                raise ConfigError(
                    f"--stages {','.join(self.names)}: {name} takes a {' or '.join(map(str, takes))}, here it gets a"
                    f" {link.kind}"
                )
            link = self._step(stage, config, link, data, cell)
            assert link.id is not None
            ids.append(link.id)
            data = link if link.kind == "token_data" else data
            if link.kind == "trained_model":
                unquantized = self._unquantized(cell, config, link, data)
        return tuple(ids), unquantized

    def config(self, cell: Cell) -> PipelineConfig:
        """Return the configuration of a cell; that of text is for a tokenizer as large as the settings ask for."""
        settings = self.settings.with_overrides(*override_texts(cell))
        config = settings.resolve(inherited=self.inherited, decided=self.source.decided).config
        if self.source.kind is None and config.data.vocab_size:
            return replace(config, model=replace(config.model, vocab_size=config.data.vocab_size))
        return config

    def _unquantized(self, cell: Cell, config: PipelineConfig, model: _Link, data: _Link | None) -> str | None:
        """Return the id of the step that scores the model as it is, and add it if it is new; None for cells that leave
        the weights alone, or have no score by windows."""
        if not {"quantize", "evaluate"} <= set(self.names):
            return None
        return self._step(STAGES["evaluate"], config, model, data, cell).id

    def _step(self, stage: Stage, config: PipelineConfig, before: _Link, data: _Link | None, cell: Cell) -> _Link:
        config = settled(stage, config, data_at_hand=self.calibrates)
        roles = stage.roles(plain_config(config))
        links = dict(zip(roles[:1], [before], strict=False))
        if data is not None and "data" in roles[1:]:
            links["data"] = data
        argument_digest = "" if roles else self.source.digest
        identity = job_key(stage, config, {role: link.digest for role, link in links.items()}, argument_digest)
        identity = identity[:_ID_LENGTH]
        stages = (*before.stages, stage.name)
        if identity not in self.steps:
            self.steps[identity] = SweepStep(
                id=identity,
                parent=before.id,
                writes=stage.writes(plain_config(config)),
                request=Request(
                    stage=stage.name,
                    inputs={role: link.path for role, link in links.items()},
                    settings=self.settings.with_overrides(*override_texts(_known_by(cell, stages, config))),
                    context=replace(self.context, reporter=SilentReporter()),
                    out=self.folder / CELLS / f"{stage.name}-{identity}",
                    arguments={} if roles else self.source.arguments,
                    argument_digest=argument_digest,
                ),
            )
        step = self.steps[identity]
        return _Link(identity, step.out, identity, step.writes, stages)

    def _find_data(self, given: Path | None) -> Artifact | None:
        if not self.source.is_model:
            return self.source.artifact
        if given is not None:
            return open_artifact(given, "token_data")
        assert self.source.artifact is not None
        if any(name in ("ttt", "evaluate") for name in self.names):
            return find_data(self.source.artifact)
        return self._training_data() if "quantize" in self.names else None

    def _training_data(self) -> Artifact | None:
        return training_data(self.source.artifact) if self.source.artifact is not None else None


def _known_by(cell: Cell, names: Sequence[str], config: PipelineConfig) -> Cell:
    """Return the cell's settings that matter to the named stages; cells that agree in them share the step."""
    plain = plain_config(config)
    return {key: value for key, value in cell.items() if any(STAGES[name].heeds(key, plain) for name in names)}
