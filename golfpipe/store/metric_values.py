"""Values out of manifests and logs that anybody may have written: each has the right type, or is None."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

_VERSION = re.compile(
    r"(?:\d{1,4}!)?\d{1,9}(?:\.\d{1,9}){0,9}(?:(?:a|b|rc)\d{1,9})?(?:\.post\d{1,9})?(?:\.dev\d{1,9})?"
    r"(?:\+[a-z0-9]{1,40}(?:\.[a-z0-9]{1,40}){0,9})?",
    re.ASCII,
)
"""A version in the form of PEP 440."""


def number(values: Mapping[str, Any], key: str) -> float | None:
    """Return a finite number; None where the value is absent, null, a text or a truth value."""
    value = values.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:  # an integer beyond any float
        return None


def count(values: Mapping[str, Any], key: str) -> int | None:
    """Return a whole number of at least 0, else None."""
    value = values.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


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


def mapping(values: Mapping[str, Any], key: str) -> dict[str, Any]:
    """Return a mapping; an empty one where the value is not a mapping."""
    value = values.get(key)
    return value if isinstance(value, dict) else {}
