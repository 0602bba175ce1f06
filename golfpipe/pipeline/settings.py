"""Merge what the user gave (file, preset, overrides, seed) and what the input carries into one configuration."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from golfpipe.config.machines import Machine, find_machine
from golfpipe.config.resolve import Resolved, StagesFile, flatten, load_stages, resolve_config
from golfpipe.config.schema import choices, known_part, plain_config
from golfpipe.errors import ConfigError
from golfpipe.jobs.registry import NEUTRAL, STAGES, Stage, settled_by
from golfpipe.quant.config import MATRIX_CLASSES, step_of_bits
from golfpipe.store.artifact import Artifact
from golfpipe.store.metric_values import mapping, text


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings that the user gave, lowest layer first: the file, the preset, the machine, the overrides,
    the seed."""

    config_file: Path | None = None
    preset: str | None = None
    machine: str | None = None
    """The machine for which to cut the work, which changes no result."""
    overrides: tuple[str, ...] = ()
    """The overrides, each as 'key=value'."""
    seed: int | None = None

    def with_overrides(self, *texts: str) -> Settings:
        """Return the same settings with further overrides on top."""
        return replace(self, overrides=(*self.overrides, *texts))

    def stages(self) -> StagesFile:
        """Return the parsed pipeline file. Raises ConfigError."""
        return load_stages(self.config_file)

    def resolve(
        self,
        *,
        inherited: dict[str, Any] | None = None,
        decided: Collection[str] = (),
        default_preset: bool = False,
    ) -> Resolved:
        """Return the configuration over `inherited`, whose sections `decided` stay as they are there.

        `default_preset` takes the file's default preset where none is given. Raises ConfigError.
        """
        stages = self.stages()
        if self.machine is not None:
            _refuse_result_settings(stages, self.machine)
        preset = self.preset or (stages.default_preset if default_preset else None)
        return resolve_config(
            stages,
            preset=preset,
            machine=self.machine,
            overrides=self.overrides,
            inherited=inherited,
            decided=decided,
            seed=self.seed,
        )

    def resolve_over(self, source: Artifact, warn: Callable[[str], None]) -> Resolved:
        """The configuration over that of an input, whose own making stays as it was. Raises ConfigError."""
        return self.resolve(inherited=inherited_settings(source, warn), decided=settled_by(source.manifest.kind))


def machine_of(settings: Settings) -> Machine | None:
    """Return the machine that the settings name, if any. Raises ConfigError."""
    return find_machine(settings.stages().machines, settings.machine) if settings.machine is not None else None


def _refuse_result_settings(stages: StagesFile, name: str) -> None:
    """Raise ConfigError where the machine sets what decides the result of a stage: such a setting belongs to a preset,
    or the same work would be another one on another machine."""
    for key in flatten(find_machine(stages.machines, name).settings):
        section = key.partition(".")[0]
        if any(section in stage.sections and key not in stage.neutral for stage in STAGES.values()):
            raise ConfigError(
                f"{stages.path}: machine {name}: {key} decides a result, and a machine must not",
                hint=f"a preset may set it; a machine may set {', '.join(NEUTRAL)}",
            )


def qat_overrides(bits: float) -> list[str]:
    """Return the overrides that train matrices and n-gram tables through open-ended codes of so many bits."""
    return [f"train.qat.{name}.step={step_of_bits(bits):.4g}" for name in MATRIX_CLASSES]


def inherited_settings(artifact: Artifact, warn: Callable[[str], None]) -> dict[str, Any]:
    """Return the settings that a later command takes over from its input: all of them from a model or an evaluation;
    from token data only how text became tokens and the tokenizer's size, since nobody chose its other settings. `warn`
    is told of settings that this golfpipe lacks."""
    config = artifact.manifest.config
    if artifact.manifest.kind == "token_data":
        config = {"data": config.get("data", {}), "model": tokenizer_settings(artifact)}
    return known_settings(config, str(artifact.path), warn)


def tokenizer_settings(data: Artifact) -> dict[str, Any]:
    """Return the settings of a model that are properties of the data's tokenizer."""
    return {name: value for name in ("vocab_size", "bos_id") if type(value := data.manifest.metrics.get(name)) is int}


def refuse_needless(stage: Stage, resolved: Resolved, tokenizer: object) -> None:
    """Raise ConfigError where --set names what decides nothing in a stage that makes token data: any setting of `data`
    for shards that are there, those of a new tokenizer where one is given."""
    idle = ("data.vocab_size", "data.normalization", "data.transform") if tokenizer is not None else ()
    for key, origin in resolved.origin.items():
        if origin == "--set" and key.startswith("data.") and ("data" not in stage.sections or key in idle):
            there = "the tokenizer is" if "data" in stage.sections else "the shards are"
            raise ConfigError(f"--set {key}: decides nothing, since {there} there already", hint=f"without {key}")


def known_settings(config: dict[str, Any], origin: str, warn: Callable[[str], None]) -> dict[str, Any]:
    """Return the part of a manifest's configuration that this golfpipe has, and warn of the rest."""
    known, dropped = known_part(config)
    if dropped:
        warn(f"{origin}: settings of another golfpipe are left out: {', '.join(dropped)}")
    return known


def refuse_unknown_choices(stage: Stage, source: Artifact, resolved: Resolved) -> None:
    """Raise ConfigError where the input was made to be worked on by a method, quantizer or coder of another golfpipe,
    the stage would heed that, and nobody has chosen again: the stage must not take a default in its place."""
    plain = plain_config(resolved.config)
    for key, table in choices().items():
        section, _, name = key.partition(".")
        carried = text(mapping(source.manifest.config, section), name)
        chosen_here = resolved.origin[key] == "--set" or resolved.origin[key].startswith("preset ")
        if carried is not None and carried not in table and not chosen_here and stage.heeds(key, plain):
            table.check(f"{source.path}: {key}", carried)
