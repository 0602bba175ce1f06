"""The whole configuration as one frozen dataclass, built strictly from plain values."""

from __future__ import annotations

import dataclasses
import functools
import math
import operator
import re
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import TypeAdapter, ValidationError

from golfpipe.adapt.config import TttConfig
from golfpipe.choices import Table, nearest, unknown_name
from golfpipe.codec.config import PackConfig
from golfpipe.config.submit import SubmitConfig
from golfpipe.data.config import DataConfig
from golfpipe.errors import ConfigError
from golfpipe.model.config import ModelConfig
from golfpipe.optim.config import OptimConfig
from golfpipe.quant.config import QuantizeConfig
from golfpipe.scoring.config import EvaluateConfig
from golfpipe.store.recorded_path import well_formed_json
from golfpipe.training.config import TrainConfig

MOST_SEED = 2**63 - 1
"""The largest seed that all generators of random numbers take."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PipelineConfig:
    """Every setting of every stage. Manifests carry it forward whole."""

    seed: int = 0
    """The seed of the initial weights, those of test-time adapters included."""
    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    quantize: QuantizeConfig = field(default_factory=QuantizeConfig)
    pack: PackConfig = field(default_factory=PackConfig)
    ttt: TttConfig = field(default_factory=TttConfig)
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)
    submit: SubmitConfig = field(default_factory=SubmitConfig)

    def __post_init__(self) -> None:
        if not 0 <= self.seed <= MOST_SEED:
            raise ConfigError(f"seed={self.seed} must lie in 0..{MOST_SEED}")


_ADAPTER = TypeAdapter(PipelineConfig)

Plain = dict[str, Any]
"""Nested dictionaries, lists and scalars, as YAML and JSON give them."""


def build_config(raw: Plain) -> PipelineConfig:
    """Turn plain values into the checked configuration. Raises ConfigError naming the key, value and rule."""
    check_keys(raw, PipelineConfig, "")
    try:
        _check_finite(raw, "")
        return _ADAPTER.validate_json(well_formed_json(raw), strict=True)
    except ValidationError as error:
        # A union reports one error per branch. The one that goes deepest is of the branch that was meant.
        errors = error.errors()
        of_one = [other for other in errors if other["loc"][:2] == errors[0]["loc"][:2]]
        first = max(of_one, key=lambda other: len(_key_parts(other["loc"])))
        key = ".".join(_key_parts(first["loc"]))
        choices = re.findall(r"'([^']*)'", first["ctx"]["expected"]) if first["type"] == "literal_error" else []
        hint = nearest(str(first["input"]), choices) if choices else None
        raise ConfigError(f"{key}: {first['msg']}, found {first['input']!r}", hint=hint) from error
    except (TypeError, ValueError, RecursionError) as error:  # dates, integers of 5000 digits, endless nesting
        raise ConfigError(f"configuration holds a value that is not plain YAML ({error})") from error


def plain_config(config: Any) -> Plain:
    """Return the configuration as nested dictionaries with every key, from which `build_config` builds it again."""
    return typing.cast(Plain, _plain(config))


def _plain(value: Any) -> Any:
    """Return the value as JSON would give it back. dataclasses.asdict takes ten times as long, for copies of leaves."""
    if dataclasses.is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def setting_value(plain: Plain, key: str) -> Any:
    """Return the value of a dotted key in the whole configuration."""
    value: Any = plain
    for part in key.split("."):
        value = value[part]
    return value


def with_changes(config: Any, changes: Mapping[str, Any]) -> Any:
    """Return a copy of a configuration with the values of dotted keys replaced."""
    for key, value in changes.items():
        name, _, rest = key.partition(".")
        inner = with_changes(getattr(config, name), {rest: value}) if rest else value
        config = dataclasses.replace(config, **{name: inner})
    return config


def differing(config: Any, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of the values, by dotted key, that the configuration does not have already."""
    return {key: value for key, value in values.items() if operator.attrgetter(key)(config) != value}


def section_type(owner: type, name: str) -> type | None:
    """Return the dataclass of field `name` of `owner`, where it is a section; None for others, unions included."""
    return _sections(owner).get(name)


@functools.cache
def _sections(owner: type) -> dict[str, type]:
    """Return the sections of `owner` by name. Cached, since evaluating type hints takes far longer than all else that
    resolving a configuration does."""
    hints = typing.get_type_hints(owner).items()
    return {name: hint for name, hint in hints if isinstance(hint, type) and dataclasses.is_dataclass(hint)}


def key_type(key: str) -> Any:
    """Return the type of the setting of a dotted key; None where there is none."""
    owner: type | None = PipelineConfig
    *sections, name = key.split(".")
    for section in sections:
        owner = section_type(owner, section) if owner is not None else None
    return typing.get_type_hints(owner, include_extras=True).get(name) if owner is not None else None


def check_keys(raw: Any, owner: type, prefix: str) -> None:
    """Check that the sections have all keys of `raw`. Raises ConfigError that suggests the nearest existing key."""
    if not isinstance(raw, dict):
        raise ConfigError(f"{prefix.rstrip('.') or 'configuration'}: expected a mapping, found {raw!r}")
    names = [f.name for f in dataclasses.fields(owner)]
    for key, value in raw.items():
        if key not in names:
            raise unknown_name(f"{prefix}{key}", "key", [f"{prefix}{name}" for name in names])
        inner = section_type(owner, key)
        if inner is not None:
            check_keys(value, inner, f"{prefix}{key}.")


def known_part(raw: Plain) -> tuple[Plain, list[str]]:
    """Return the part of `raw`, perhaps by another golfpipe, that this one knows, and the keys left out.

    A model that took days to train must not become unusable because a setting of a later step got another name.
    """
    kept, dropped = _known_keys(raw, PipelineConfig, "")
    for section in list(kept):
        try:
            build_config({section: kept[section]})
        except ConfigError:
            del kept[section]
            dropped.append(section)
    return kept, dropped


def _known_keys(raw: Plain, owner: type, prefix: str) -> tuple[Plain, list[str]]:
    names = {item.name for item in dataclasses.fields(owner)}
    kept: Plain = {}
    dropped: list[str] = []
    for key, value in raw.items():
        inner = section_type(owner, key)
        if key not in names or (inner is not None and not isinstance(value, dict)):
            dropped.append(f"{prefix}{key}")
        elif inner is None:
            kept[key] = value
        else:
            kept[key], below = _known_keys(value, inner, f"{prefix}{key}.")
            dropped += below
    return kept, dropped


def all_keys(owner: type = PipelineConfig, prefix: str = "") -> list[str]:
    """Return every dotted key that --set takes, in order."""
    keys: list[str] = []
    for item in dataclasses.fields(owner):
        inner = section_type(owner, item.name)
        keys += all_keys(inner, f"{prefix}{item.name}.") if inner else [f"{prefix}{item.name}"]
    return keys


@functools.cache
def choices(owner: type = PipelineConfig, prefix: str = "") -> dict[str, Table]:
    """Return the table of every dotted key whose value is a name in one."""
    found: dict[str, Table] = {}
    for name, hint in typing.get_type_hints(owner, include_extras=True).items():
        inner = section_type(owner, name)
        if inner is not None:
            found |= choices(inner, f"{prefix}{name}.")
        elif typing.get_origin(hint) is typing.Annotated:
            found |= {f"{prefix}{name}": part for part in hint.__metadata__ if isinstance(part, Table)}
    return found


def _check_finite(value: Any, key: str) -> None:
    if isinstance(value, dict):
        for name, inner in value.items():
            _check_finite(inner, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list):
        for inner in value:
            _check_finite(inner, key)
    elif isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"{key}={value} must be a finite number")


def _key_parts(place: tuple[int | str, ...]) -> list[str]:
    return [str(part) for part in place if not _is_branch_label(part)]


def _is_branch_label(part: int | str) -> bool:
    return isinstance(part, str) and (part[:1].isupper() or "[" in part or part in ("int", "float", "str", "none"))
