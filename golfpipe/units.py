"""Units: bits per byte, decimal bytes, and the form in which people read numbers."""

from __future__ import annotations

import math

LIMIT_BYTES = 16_000_000
"""The challenge's limit for code plus weights, in decimal bytes, not MiB."""


def bits_per_byte(total_nats: float, total_bytes: int) -> float:
    """Return the code length of the text in bits, divided by its UTF-8 bytes, which does not depend on the vocabulary.

    `total_bytes` counts the bytes of the scored target tokens only. Raises ZeroDivisionError for no bytes: callers
    decide what an empty text means.
    """
    return total_nats / (math.log(2) * total_bytes)


def format_bytes(count: int) -> str:
    """Return '15,897,261 B' for 15897261: exact, because the limit is exact."""
    return f"{count:,} B"


def format_count(count: float) -> str:
    """Return '41.9 M' for 41947778."""
    for factor, suffix in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if abs(count) >= factor:
            return f"{count / factor:.1f}{suffix}"
    return f"{count:g}"


def exact_seconds(seconds: float) -> str:
    """600.038 -> '600.038 s', 590.0 -> '590 s'. For limits, where a part of a second decides."""
    return f"{seconds:,.3f}".rstrip("0").rstrip(".") + " s"


def format_seconds(seconds: float) -> str:
    """Return '0.4 s' for 0.42, '1 min 15 s' for 75, '2 h 5 min' for 7500."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min"


def format_age(seconds: float) -> str:
    """Return '42 s', '7 min', '3 h' or '12 d': the largest unit that is whole."""
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return f"{max(0, int(seconds))} s"
