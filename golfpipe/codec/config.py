"""How codes become bytes, and the limit that the bytes must keep."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from golfpipe.codec.coders import CODERS
from golfpipe.errors import ConfigError
from golfpipe.units import LIMIT_BYTES


@dataclass(frozen=True, kw_only=True, slots=True)
class PackConfig:
    """Settings of the pack stage."""

    coder: Annotated[str, CODERS] = "range"
    """How pieces become bytes: a line of coders.py. Each coder's file says what it does."""
    limit_bytes: int = LIMIT_BYTES
    """Limit for code plus weights, decimal bytes."""
    code_bytes_reserve: int = 46_000
    """Bytes set aside for the submission's script until its real size is known."""

    def __post_init__(self) -> None:
        CODERS.check("pack.coder", self.coder)
        if self.limit_bytes < 1:
            raise ConfigError(f"pack.limit_bytes={self.limit_bytes} must be positive")
        if self.code_bytes_reserve < 0:
            raise ConfigError(f"pack.code_bytes_reserve={self.code_bytes_reserve} must not be negative")
