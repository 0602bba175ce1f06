"""Canonical JSON and sha256: the same value gives the same bytes, hence the same key."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from golfpipe.errors import ArtifactError


def canonical_json(value: Any) -> str:
    """Sorted keys, no spaces, ASCII, no NaN (ValueError), floats as Python's shortest repr."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def digest_of(value: Any) -> str:
    """sha256 (hex) of the canonical JSON of `value`."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def file_sha256(path: Path) -> str:
    """sha256 (hex) of a file, streamed."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def parse_json(text: str | bytes, name: str) -> Any:
    """Strict JSON: duplicate keys, NaN and infinities are errors. Raises ArtifactError naming `name`."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in pairs:
            if key in found:
                raise ArtifactError(f"{name}: duplicate key {key!r}")
            found[key] = value
        return found

    def refuse(constant: str) -> Any:
        raise ArtifactError(f"{name}: {constant} is not allowed in JSON")

    try:
        return json.loads(text, object_pairs_hook=unique, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{name}: not valid JSON ({error})", hint="recreate the artifact with --force") from error
