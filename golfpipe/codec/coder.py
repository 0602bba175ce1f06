"""What a coder is: a piece to streams of bytes, and back.

A coder's file holds a subclass of Coder and the object CODER.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from golfpipe.codec.pieces import Piece


class Coder(ABC):
    """One way to write the pieces of a payload."""

    about: ClassVar[str]
    """What it does, as the README of a submission says it."""

    @abstractmethod
    def num_streams(self, bits: int) -> int:
        """Return how many streams a piece of these `bits` (see Piece) has."""

    @abstractmethod
    def encode(self, piece: Piece) -> list[bytes]:
        """Return the streams of the piece. The same piece gives the same bytes on every machine."""

    @abstractmethod
    def decode(self, streams: Sequence[bytes], shape: tuple[int, ...], bits: int) -> dict[str, np.ndarray]:
        """Return the arrays of the piece by the names of its fields: `codes` and `scales`, or `floats`.

        The caller has bounded the number of values; what the arrays hold is checked when the piece is built. Raises
        ArtifactError for streams that are damaged, cut off, or longer than they should be.
        """
