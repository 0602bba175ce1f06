"""YAML read strictly: no duplicate keys, no tags, and 5e-4 is a number."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from golfpipe.errors import ConfigError

MAX_BYTES = 1 << 20


class _StrictLoader(yaml.SafeLoader):
    """SafeLoader that refuses duplicate keys and aliases, and reads floats as YAML 1.2 does."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)  # type: ignore[no-untyped-call]
            if not isinstance(key, str):
                raise ConfigError(f"{_place(key_node)}: key {key!r} is not text")
            if key in seen:
                raise ConfigError(f"{_place(key_node)}: duplicate key {key}")
            seen.add(key)
        return super().construct_mapping(node, deep=True)

    def compose_node(self, parent: Any, index: Any) -> yaml.Node | None:
        # Aliases let a few lines expand to gigabytes, and no configuration needs them.
        if self.check_event(yaml.AliasEvent):  # type: ignore[no-untyped-call]
            raise ConfigError(f"{_mark(self.peek_event().start_mark)}: aliases are not allowed")  # type: ignore[no-untyped-call]
        return super().compose_node(parent, index)


# YAML 1.1 wants a dot and a signed exponent: it reads 5e-4 as text.
_StrictLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d[\d_]*)(\.\d*)?[eE][-+]?\d+$"),
    list("-+0123456789"),
)


def read_yaml(path: Path) -> Any:
    """Parse a YAML file. Raises ConfigError naming file and line."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ConfigError(f"{path}: {path.stat().st_size} bytes, at most {MAX_BYTES} are read")
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", path=str(path)) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 text ({error})", path=str(path)) from error
    return parse_yaml(text, str(path))


def parse_yaml(text: str, name: str) -> Any:
    """Parse YAML text. Raises ConfigError naming `name` and the line."""
    try:
        loader = _StrictLoader(text)
        loader.name = name
        try:
            return loader.get_single_data()  # type: ignore[no-untyped-call]
        finally:
            loader.dispose()  # type: ignore[no-untyped-call]
    except (yaml.YAMLError, ValueError, RecursionError, OverflowError) as error:
        raise ConfigError(f"{name}: {' '.join(str(error).split())}") from error


def _place(node: yaml.Node) -> str:
    return _mark(node.start_mark)


def _mark(mark: Any) -> str:
    return f"{mark.name}, line {mark.line + 1}"
