"""The coders of packed payloads: a line each."""

from __future__ import annotations

from golfpipe.choices import Table
from golfpipe.errors import ArtifactError

_LINES = (
    (1, "range", "golfpipe.codec.range_coder"),
    (0, "nibble", "golfpipe.codec.nibble"),
)
"""(number in a payload, which no other coder ever gets, pack.coder, the module whose CODER is that Coder)."""

CODERS = Table("coder", "CODER", {name: module for _, name, module in _LINES})


def coder_number(name: str) -> int:
    """Return the number that stands for the coder in a payload. Raises ConfigError for an unknown name."""
    module = CODERS.module(name)
    return next(number for number, _, known in _LINES if known == module)


def coder_of_number(number: int) -> str:
    """Return the name of a payload's coder. Raises ArtifactError for a number that no coder has."""
    for known, name, _ in _LINES:
        if known == number:
            return name
    raise ArtifactError(f"packed payload: unknown coder {number}")
