"""What a shell may complete: preset names, settings, and the values of settings that are a choice."""

from __future__ import annotations

import typing
from typing import Annotated, Any, Literal

from golfpipe.choices import Table
from golfpipe.config.resolve import load_stages
from golfpipe.config.schema import all_keys, key_type
from golfpipe.errors import ConfigError


def machine_names() -> list[tuple[str, str]]:
    """Return the name and description of each machine in the pipeline file that applies here; none where it is
    broken."""
    try:
        return [(name, machine.about) for name, machine in load_stages().machines.items()]
    except ConfigError:
        return []


def preset_names() -> list[tuple[str, str]]:
    """Return the name and purpose of each preset in the pipeline file that applies here; none where it is broken."""
    try:
        return [(name, preset.about) for name, preset in load_stages().presets.items()]
    except ConfigError:
        return []


def setting_words(incomplete: str) -> list[str]:
    """Complete a word of --set: 'quantize.m' to 'quantize.mlp.bits=', ...; 'pack.coder=' to 'pack.coder=range', ...."""
    key, equals, value = incomplete.partition("=")
    if not equals:
        return [f"{name}=" for name in all_keys() if name.startswith(key)]
    return [f"{key}={choice}" for choice in _choices(key) if choice.startswith(value)]


def _choices(key: str) -> list[str]:
    """Return the words that a setting may be; none where it is a number or free text."""
    return _words(key_type(key))


def _words(hint: Any) -> list[str]:
    if hint is bool:
        return ["true", "false"]
    if typing.get_origin(hint) is Literal:
        return [str(value) for value in typing.get_args(hint)]
    if typing.get_origin(hint) is Annotated:
        tables = [table for table in hint.__metadata__ if isinstance(table, Table)]
        return [name for table in tables for name in table.names] or _words(typing.get_args(hint)[0])
    return [word for part in typing.get_args(hint) for word in _words(part)]
