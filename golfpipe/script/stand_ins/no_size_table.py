"""Stands for golfpipe.weights.size_table in a vendored compressor, which has no table to show."""

from __future__ import annotations

from typing import Any

SizeTable = Any


def size_table(*what: Any) -> Any:
    """Raise ValueError."""
    raise ValueError("a vendored compress has no table to show; golfpipe's own has")
