"""YAML, read strictly: no duplicate keys, tags or aliases, and plain values as in YAML 1.2.

So 5e-4 is a number, `on` and 2026-11-24 are text (train.compile=on, submit.date), and 010 is ten, not eight.
"""

from __future__ import annotations

import copy
import functools
import re
from pathlib import Path
from typing import Any

import yaml

from golfpipe.errors import ConfigError

MAX_BYTES = 100_000
"""The most bytes of a file: ten times the one that comes with golfpipe. The parser takes seconds for a megabyte."""
MAX_BRACKETS = 2000
"""The most flow lists and mappings in one text. The parser's time grows with the square of how deep they nest."""


class _StrictLoader(yaml.SafeLoader):
    """SafeLoader with the rules of this module."""

    # Emptied, to drop the types of YAML 1.1; those of 1.2 are added below.
    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise ConfigError(f"{_mark(key_node.start_mark)}: key {key!r} is not text")
            if key in seen:
                raise ConfigError(f"{_mark(key_node.start_mark)}: duplicate key {key}")
            seen.add(key)
        return super().construct_mapping(node, deep=True)

    def compose_node(self, parent: Any, index: Any) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]  # its types lack this one
        # Aliases let a few lines expand to gigabytes, and no configuration needs them or tags.
        if isinstance(event, yaml.AliasEvent):
            raise ConfigError(f"{_mark(event.start_mark)}: aliases (*{event.anchor}) are not allowed")
        if getattr(event, "tag", None) is not None:
            raise ConfigError(f"{_mark(event.start_mark)}: tags ({event.tag}) are not allowed")
        return super().compose_node(parent, index)


def _resolve_plain(name: str, pattern: str, first: str) -> None:
    """Read plain text that matches `pattern`, and so starts with one of `first`, as the YAML type `name`."""
    _StrictLoader.add_implicit_resolver(f"tag:yaml.org,2002:{name}", re.compile(f"^(?:{pattern})$"), list(first))


_resolve_plain("bool", "true|True|TRUE|false|False|FALSE", "tTfF")
_resolve_plain("int", r"[-+]?(?:0|[1-9][\d_]*)|0o[0-7]+|0x[\da-fA-F]+", "-+0123456789")
_resolve_plain("float", r"[-+]?(?:\.\d[\d_]*|\d[\d_]*\.[\d_]*)(?:[eE][-+]?\d+)?", "-+.0123456789")
_resolve_plain("float", r"[-+]?\d[\d_]*[eE][-+]?\d+", "-+0123456789")
_resolve_plain("float", r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)", "-+.")
_StrictLoader.add_implicit_resolver(
    "tag:yaml.org,2002:null", re.compile("^(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""]
)


def read_yaml(path: Path) -> Any:
    """Parse a YAML file. Raises ConfigError naming file and line."""
    try:
        with path.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", path=str(path)) from error
    if len(content) > MAX_BYTES:
        raise ConfigError(f"{path}: more than {MAX_BYTES} bytes, which no configuration needs", path=str(path))
    try:
        return parse_yaml(content.decode("utf-8"), str(path))
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 text ({error})", path=str(path)) from error


def parse_yaml(text: str, name: str) -> Any:
    """Parse YAML text. Raises ConfigError naming `name` and the line."""
    if text.count("[") + text.count("{") > MAX_BRACKETS:
        raise ConfigError(f"{name}: more than {MAX_BRACKETS} opening brackets, which no configuration needs")
    return copy.deepcopy(_parsed(text, name))


@functools.lru_cache(maxsize=64)
def _parsed(text: str, name: str) -> Any:
    """Parse the text, which most commands do several times with the same file."""
    try:
        loader = _StrictLoader(text)
        loader.name = name
        try:
            return loader.get_single_data()
        finally:
            loader.dispose()
    except (yaml.YAMLError, ValueError, RecursionError, OverflowError) as error:
        raise ConfigError(f"{name}: {' '.join(str(error).split())}") from error


def _mark(mark: Any) -> str:
    return f"{mark.name}, line {mark.line + 1}"
