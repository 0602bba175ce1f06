"""Canonical JSON and sha256: the same value gives the same bytes, hence the same key."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any

from golfpipe.errors import ArtifactError

MAX_DEPTH = 100
"""The most levels of nesting: far above what golfpipe writes, far below what any walk over it can bear."""


def canonical_json(value: Any) -> str:
    """Return JSON with sorted keys, no spaces, ASCII only, shortest floats. Raises ValueError for NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def digest_of(value: Any) -> str:
    """Return the sha256 (hex) of the canonical JSON of `value`."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def file_sha256(path: Path) -> str:
    """Return the sha256 (hex) of a file, read in pieces."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def parse_json(text: str | bytes, name: str) -> Any:
    """Parse JSON strictly. Raises ArtifactError for duplicate keys, NaN, numbers beyond fp64, deep nesting."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in pairs:
            if key in found:
                raise ArtifactError(f"{name}: duplicate key {key!r}")
            found[key] = value
        return found

    def refuse(constant: str) -> Any:
        raise ArtifactError(f"{name}: {constant} is not allowed in JSON")

    def finite(number: str) -> float:
        value = float(number)
        return value if math.isfinite(value) else refuse(number[:30])

    try:
        value = json.loads(text, object_pairs_hook=unique, parse_constant=refuse, parse_float=finite)
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{name}: not valid JSON ({error})", hint="recreate the artifact with --force") from error
    if _is_deep(value):
        raise ArtifactError(f"{name}: objects and lists nested deeper than {MAX_DEPTH}")
    return value


def _is_deep(value: Any) -> bool:
    """Return True if `value` nests deeper than MAX_DEPTH. It walks by level, so that the stack stays small."""
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        level = [
            item
            for node in level
            if isinstance(node, dict | list)
            for item in (node.values() if isinstance(node, dict) else node)
            if isinstance(item, dict | list)
        ]
        if not level:
            return False
    return True
