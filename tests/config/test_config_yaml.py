"""The YAML that golfpipe reads: strict, and with plain values as people mean them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from golfpipe.config.yaml_file import MAX_BYTES, parse_yaml, read_yaml
from golfpipe.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5e-4", 0.0005), ("5E+4", 50000.0), ("-1.5", -1.5), (".5", 0.5), ("1.", 1.0), ("16_000_000", 16_000_000),
        ("0x10", 16), ("0o17", 15), ("010", "010"), ("1:30", "1:30"), ("2026-11-24", "2026-11-24"), ("on", "on"),
        ("off", "off"), ("yes", "yes"), ("y", "y"), ("true", True), ("False", False), ("null", None), ("~", None),
        ("", None), ("<<", "<<"), ("=", "="), ("'5'", "5"), ("[1, a]", [1, "a"]), ("{last: 4}", {"last": 4}),
        ("1e3x", "1e3x"),
    ],
)  # fmt: skip
def test_plain_values(text: str, value: Any) -> None:
    parsed = parse_yaml(text, "x")
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\na: 2", "line 2: duplicate key a"),
        ("{a: 1, a: 2}", "duplicate key a"),
        ("1: x", "key 1 is not text"),
        ("? [a]\n: x", "is not text"),
        ("a: &x 1\nb: *x", r"line 2: aliases \(\*x\)"),
        ("!!python/object/apply:os.system [ls]", "tags"),
        ("!!binary aGk=", "tags"),
        ("!!int '5'", "tags"),
        ("!custom x", "tags"),
        ("a: [", "line"),
        ("a: b: c", "line 1"),
        ("--- a\n--- b", "single document"),
        ("\0", "x"),
        ("[" * 5000, "x"),
        ("\t- a", "x"),
    ],
)
def test_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_yaml(text, "x")


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "stages.yaml"
    with pytest.raises(ConfigError, match="No such file"):
        read_yaml(path)
    with pytest.raises(ConfigError, match="directory"):
        read_yaml(tmp_path)
    path.write_bytes(b"a: \xff")
    with pytest.raises(ConfigError, match="not UTF-8"):
        read_yaml(path)
    path.write_bytes(b" " * (MAX_BYTES + 1))
    with pytest.raises(ConfigError, match="more than"):
        read_yaml(path)
    path.write_text("a: {b: 1}")
    assert read_yaml(path) == {"a": {"b": 1}}
