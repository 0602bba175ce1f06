"""The kinds of piece, a line each: how each is entropy-coded, and which weights it stands for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from golfpipe.choices import Table
from golfpipe.codec.pieces import Piece, format_name

FORMATS = Table(
    "piece format",
    "FORMAT",
    {
        "float": "golfpipe.codec.floats",
        "exact": "golfpipe.codec.exact",
        "grid": "golfpipe.codec.grid_codes",
        "open": "golfpipe.codec.open_codes",
    },
)
"""pieces.format_name -> the module whose FORMAT is that Format."""


@dataclass(frozen=True, slots=True)
class IdealSize:
    """What no coder with a static model per stream can beat, in bits; tables come on top."""

    total: float
    """The size of everything that the piece stores."""
    codes: float | None
    """The size of the codes alone; None for pieces without codes."""


class Format(ABC):
    """One kind of piece."""

    @abstractmethod
    def num_streams(self, bits: int) -> int:
        """Return how many entropy-coded streams a piece of these `bits` has."""

    @abstractmethod
    def encode(self, piece: Piece) -> list[bytes]:
        """Return the entropy-coded streams of the piece."""

    @abstractmethod
    def decode(self, streams: Sequence[bytes], shape: tuple[int, ...], bits: int) -> dict[str, np.ndarray]:
        """Return the arrays of the piece by the names of its fields. Raises ArtifactError for malformed streams."""

    @abstractmethod
    def ideal_size(self, piece: Piece) -> IdealSize:
        """Return the entropy of the piece under the tables that code it."""

    @abstractmethod
    def weights(self, piece: Piece) -> np.ndarray:
        """Return the fp32 weights that the piece stands for, in its shape, the same bits on every machine.

        Exact pieces stand for numbers of a type that they do not know, and give their bits.
        """


def format_of(bits: int) -> Format:
    """Return the format of pieces with these `bits`."""
    found: Format = FORMATS.load(format_name(bits))
    return found


def ideal_bytes(piece: Piece) -> float:
    """Return the entropy of the piece in bytes; see IdealSize."""
    return format_of(piece.bits).ideal_size(piece).total / 8
