"""Values out of manifests and logs that anybody may have written: each has the right type, or is None."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from golfpipe.errors import ArtifactError

_VERSION = re.compile(
    r"(?:\d{1,4}!)?\d{1,9}(?:\.\d{1,9}){0,9}(?:(?:a|b|rc)\d{1,9})?(?:\.post\d{1,9})?(?:\.dev\d{1,9})?"
    r"(?:\+[a-z0-9]{1,40}(?:\.[a-z0-9]{1,40}){0,9})?",
    re.ASCII,
)
"""A version in the form of PEP 440."""


_MEASURES = {"_bpb": 1e6, "_nats": 1e6, "seconds": 1e9, "_ms": 1e12}
"""The most that a measured number can be, by the end of its name: far above any real one. None is below 0."""
_MOST = float(2**62)
"""The most of any other number."""
MOST_COUNT = 2**63 - 1
"""The most of a whole number: what 64 bits hold."""


def number(values: Mapping[str, Any], key: str) -> float | None:
    """Return a finite number in the range that its name tells; None where the value is absent, null, a text, a truth
    value or out of range."""
    value = values.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    most = next((most for end, most in _MEASURES.items() if key.endswith(end)), None)
    low, high = (-_MOST, _MOST) if most is None else (0.0, most)
    return float(value) if low <= value <= high else None


def needed_number(values: Mapping[str, Any], key: str, where: object) -> float:
    """Return the number. Raises ArtifactError naming the artifact `where` whose manifest has none."""
    found = number(values, key)
    if found is None:
        raise ArtifactError(
            f"{where}: field metrics.{key} is {str(values.get(key))[:40]!r}, expected a number that can be one",
            hint="the artifact was edited, or its model diverged; make it again with --force",
            path=str(where),
        )
    return found


def count(values: Mapping[str, Any], key: str) -> int | None:
    """Return a whole number of at least 0, else None."""
    value = values.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST_COUNT else None


def measured(values: Mapping[str, Any], key: str) -> str | bool | int | float | None:
    """Return a value to show, whatever its kind; None for a measure that is no number, and for lists and mappings."""
    value = values.get(key)
    if isinstance(value, str):
        return None if key.endswith((*_MEASURES, "_bytes", "_mse")) else value
    return value if isinstance(value, bool) else count(values, key) if isinstance(value, int) else number(values, key)


def text(values: Mapping[str, Any], key: str) -> str | None:
    """Return a text that is not empty, else None."""
    value = values.get(key)
    return value if isinstance(value, str) and value else None


def version(values: Mapping[str, Any], key: str) -> str | None:
    """Return the version of a package (PEP 440), else None."""
    value = text(values, key)
    return value if value is not None and _VERSION.fullmatch(value) else None


def flag(values: Mapping[str, Any], key: str) -> bool | None:
    """Return a truth value, else None."""
    value = values.get(key)
    return value if isinstance(value, bool) else None


def texts(values: Mapping[str, Any], key: str) -> list[str]:
    """Return the texts of a list; none where the value is not a list."""
    value = values.get(key)
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def mapping(values: Mapping[str, Any], key: str) -> dict[str, Any]:
    """Return a mapping; an empty one where the value is not a mapping."""
    value = values.get(key)
    return value if isinstance(value, dict) else {}
