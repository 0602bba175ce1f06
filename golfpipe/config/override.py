"""Settings as words of the command line, 'key=value'. The type of the setting decides how the value is read."""

from __future__ import annotations

import json
import typing
from typing import Annotated, Any, Literal

from golfpipe.choices import same_ending
from golfpipe.config.schema import PipelineConfig, Plain, all_keys, check_keys, key_type
from golfpipe.config.yaml_file import parse_yaml
from golfpipe.errors import ConfigError


def parse_override(text: str) -> Plain:
    """Turn 'a.b=v' into {'a': {'b': v}}. Raises ConfigError."""
    key, equals, value = text.partition("=")
    parts = key.strip().split(".")
    if not equals or not all(parts):
        raise ConfigError(f"--set {text!r}: expected key=value, e.g. train.max_steps=100")
    near = same_ending(key.strip(), all_keys())
    if near and near[0] != key.strip():
        raise ConfigError(f"unknown key {key.strip()}", hint=f"did you mean {' or '.join(near)}?")
    tree: Any = parse_value(key.strip(), value)
    for part in reversed(parts):
        tree = {part: tree}
    check_keys(tree, PipelineConfig, "")
    return dict(tree)


def parse_value(key: str, text: str) -> Any:
    """Return the value of a setting from its text: text as it stands where the setting is text, else YAML, in which
    1e3 is a whole number where one is needed. Raises ConfigError."""
    if is_text(key):
        return text
    return fitting(key, parse_yaml(text, f"--set {key}"))


def fitting(key: str, value: Any) -> Any:
    """Return a value of YAML as the setting needs it: 1e3 as a whole number."""
    kinds = _kinds(key_type(key))
    whole = isinstance(value, float) and value.is_integer() and int in kinds and float not in kinds
    return int(value) if whole else value


def is_text(key: str) -> bool:
    """Return True for a setting that holds any text, or one of a few words."""
    return _kinds(key_type(key)) == {str}


def override_text(key: str, value: Any) -> str:
    """Return the text that `parse_value` reads as the value: bare where YAML gives it back, JSON otherwise."""
    if isinstance(value, str):
        if is_text(key):
            return value
        try:
            if value and parse_yaml(value, "value") == value and "\n" not in value:
                return value
        except ConfigError:
            pass
    return json.dumps(value)


def _kinds(hint: Any) -> set[Any]:
    """Return the types that a value of the setting can have."""
    if typing.get_origin(hint) is Literal:
        return {type(value) for value in typing.get_args(hint)}
    if typing.get_origin(hint) is Annotated:
        return _kinds(typing.get_args(hint)[0])
    parts = typing.get_args(hint) if typing.get_origin(hint) is not tuple else ()
    return set().union(*map(_kinds, parts)) if parts else {hint}
