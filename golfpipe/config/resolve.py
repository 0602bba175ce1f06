"""A command's configuration, merged from dataclass, stages.yaml, input's manifest, preset, machine, --set; later ones
win."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from golfpipe.choices import unknown_name
from golfpipe.config.machines import Machine, find_machine, read_machine
from golfpipe.config.override import parse_override
from golfpipe.config.schema import (
    PipelineConfig,
    Plain,
    build_config,
    check_keys,
    plain_config,
    section_type,
)
from golfpipe.config.yaml_file import read_yaml
from golfpipe.errors import ConfigError

STAGES_FILE = "stages.yaml"
_STEP_NAME = re.compile(r"\w[\w-]{0,63}", re.ASCII)
"""The pattern of a step's name, which becomes a folder inside the run's."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Preset:
    """A named set of settings over the defaults."""

    name: str
    about: str
    settings: Plain


@dataclass(frozen=True, kw_only=True, slots=True)
class NodeSpec:
    """One step of the pipeline as stages.yaml writes it."""

    name: str
    stage: str
    inputs: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class StagesFile:
    """A parsed stages.yaml."""

    path: Path
    defaults: Plain
    presets: dict[str, Preset]
    pipeline: tuple[NodeSpec, ...]
    default_preset: str
    machines: dict[str, Machine]


@dataclass(frozen=True, slots=True)
class Resolved:
    """A configuration and, for every dotted key, the name of the layer that set it."""

    config: PipelineConfig
    origin: dict[str, str]


def find_stages_file(given: Path | None) -> Path:
    """Return `--config FILE`, else ./stages.yaml, else the file that comes with golfpipe."""
    if given is not None:
        return given
    local = Path(STAGES_FILE)
    return local if local.is_file() else packaged_stages_file()


def packaged_stages_file() -> Path:
    """Return the file that comes with golfpipe."""
    package = Path(__file__).resolve().parent.parent
    inside = package / STAGES_FILE
    # in a source checkout it lies beside the package
    return inside if inside.is_file() else package.parent / STAGES_FILE


def load_stages(given: Path | None = None) -> StagesFile:
    """Read and check stages.yaml. Raises ConfigError."""
    path = find_stages_file(given)
    raw = read_yaml(path)
    if not isinstance(raw, dict):
        raise ConfigError(f"{path}: expected a mapping with defaults, pipeline and presets")
    known = ["default_preset", "defaults", "pipeline", "presets", "machines"]
    for key in raw:
        if key not in known:
            raise unknown_name(str(key), f"section of {path}:", known)
    defaults = raw.get("defaults") or {}
    _check_section(defaults, f"{path}: defaults")
    presets = {}
    for name, body in _mapping(raw.get("presets"), f"{path}: presets").items():
        settings = dict(_mapping(body, f"{path}: preset {name}"))
        about = settings.pop("about", "")
        _check_section(settings, f"{path}: preset {name}")
        presets[name] = Preset(name=name, about=str(about), settings=settings)
    pipeline = tuple(
        _node(name, body, path) for name, body in _mapping(raw.get("pipeline"), f"{path}: pipeline").items()
    )
    default_preset = str(raw.get("default_preset", "demo"))
    if "default_preset" in raw and default_preset not in presets:
        raise unknown_name(default_preset, f"preset in {path}: default_preset:", list(presets))
    machines = {}
    for name, body in _mapping(raw.get("machines"), f"{path}: machines").items():
        machines[name] = read_machine(name, _mapping(body, f"{path}: machine {name}"), path)
        _check_section(machines[name].settings, f"{path}: machine {name}")
    return StagesFile(
        path=path,
        defaults=defaults,
        presets=presets,
        pipeline=pipeline,
        default_preset=default_preset,
        machines=machines,
    )


def _check_section(settings: Any, where: str) -> None:
    try:
        check_keys(settings, PipelineConfig, "")
    except ConfigError as error:
        raise ConfigError(f"{where}: {error.message}", hint=error.hint) from error


def _node(name: str, body: Any, path: Path) -> NodeSpec:
    if _STEP_NAME.fullmatch(name) is None:
        raise ConfigError(
            f"{path}: pipeline: step {name[:100]!r} must be letters, digits, - and _, at most 64: it names a folder"
        )
    fields = _mapping(body, f"{path}: pipeline.{name}")
    for key in fields:
        if key not in ("stage", "inputs"):
            raise unknown_name(key, f"key in {path}: pipeline.{name}:", ["stage", "inputs"])
    inputs = fields.get("inputs") or []
    if not isinstance(inputs, list) or not all(isinstance(item, str) for item in inputs):
        raise ConfigError(f"{path}: pipeline.{name}.inputs must be a list of names, found {inputs!r}")
    return NodeSpec(name=name, stage=str(fields.get("stage", name)), inputs=tuple(inputs))


def _mapping(value: Any, where: str) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ConfigError(f"{where}: expected a mapping, found {value!r}")
    return value


def resolve_config(
    stages: StagesFile,
    *,
    preset: str | None = None,
    machine: str | None = None,
    overrides: Sequence[str] = (),
    inherited: Plain | None = None,
    decided: Collection[str] = (),
    seed: int | None = None,
) -> Resolved:
    """Merge the layers and check the result. Raises ConfigError.

    `inherited` is the configuration, or sections of it, that the input's manifest carries; a whole one overrides all
    layers below. `decided` names the sections that made the input: presets leave them alone, and overrides must agree
    with them.
    """
    merged: Plain = plain_config(PipelineConfig())
    origin: dict[str, str] = {}
    _record(merged, PipelineConfig, "", "default", origin)
    _merge(merged, stages.defaults, PipelineConfig, "", stages.path.name, origin)
    if inherited is not None:
        _merge(merged, inherited, PipelineConfig, "", "input", origin)
    if preset is not None:
        settings = {k: v for k, v in find_preset(stages, preset).settings.items() if k not in decided}
        _merge(merged, settings, PipelineConfig, "", f"preset {preset}", origin)
    if machine is not None:
        chosen = find_machine(stages.machines, machine)
        _merge(merged, chosen.settings, PipelineConfig, "", f"machine {machine}", origin)
    before = plain_config(build_config(merged)) if overrides and decided else {}
    for text in overrides:
        _merge(merged, parse_override(text), PipelineConfig, "", "--set", origin)
    if seed is not None:
        _merge(merged, {"seed": seed}, PipelineConfig, "", "--seed", origin)
    try:
        config = build_config(merged)
    except ConfigError as error:
        if overrides or seed is not None:
            # What the command line set is to blame, unless the layers below it are wrong by themselves.
            resolve_config(stages, preset=preset, machine=machine, inherited=inherited, decided=decided)
            raise
        raise ConfigError(error.message + _blame(error.message, origin, stages.path), hint=error.hint) from error
    if before:
        after = plain_config(config)
        for change in changed_keys({k: before[k] for k in decided}, {k: after[k] for k in decided}):
            raise ConfigError(
                f"--set {change}: decided by an earlier step, whose result is the input here",
                hint="run that step again with this setting",
            )
    return Resolved(config, origin)


def _blame(message: str, origin: Mapping[str, str], path: Path) -> str:
    """Return a note on where the settings near those that a message names come from."""
    # all of the section, since a rule about one key may be broken by another
    sections = tuple(key.partition(".")[0] + "." for key in re.findall(r"[a-z_]\w*(?:\.\w+)+", message))
    layers = {layer for key, layer in origin.items() if key.startswith(sections)} - {"default"}
    if "input" in layers:
        return " (in the settings that the input carries)"
    return f" (in {path})" if layers else ""


def find_preset(stages: StagesFile, name: str) -> Preset:
    """Return the preset `name`. Raises ConfigError that suggests the nearest one."""
    if name not in stages.presets:
        raise unknown_name(name, "preset", list(stages.presets))
    return stages.presets[name]


def changed_keys(before: Plain, after: Plain) -> list[str]:
    """List every dotted key that differs as 'quantize.mlp.bits: 6 -> 4'."""
    left, right = flatten(before), flatten(after)
    return [
        f"{key}: {left.get(key, '(unset)')} -> {right.get(key, '(unset)')}"
        for key in sorted(left.keys() | right.keys())
        if left.get(key) != right.get(key)
    ]


def flatten(tree: Plain, prefix: str = "") -> Plain:
    """Turn {"a": {"b": 1}} into {"a.b": 1}."""
    flat: Plain = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _merge(base: Plain, layer: Plain, owner: type, prefix: str, source: str, origin: dict[str, str]) -> None:
    check_keys(layer, owner, prefix)
    for key, value in layer.items():
        inner = section_type(owner, key)
        if inner is not None:
            _merge(base[key], value, inner, f"{prefix}{key}.", source, origin)
        else:
            base[key] = value
            origin[f"{prefix}{key}"] = source


def _record(tree: Plain, owner: type, prefix: str, source: str, origin: dict[str, str]) -> None:
    for key, value in tree.items():
        inner = section_type(owner, key)
        if inner is not None:
            _record(value, inner, f"{prefix}{key}.", source, origin)
        else:
            origin[f"{prefix}{key}"] = source
