"""The coder `range`: each kind of piece by the entropy models that suit it (formats.py)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from golfpipe.codec.coder import Coder
from golfpipe.codec.formats import format_of
from golfpipe.codec.pieces import Piece


class RangeCoder(Coder):
    """Entropy coding with tables that are fitted to each tensor."""

    about = "entropy coding with a static model per tensor"

    def num_streams(self, bits: int) -> int:
        return format_of(bits).num_streams(bits)

    def encode(self, piece: Piece) -> list[bytes]:
        return format_of(piece.bits).encode(piece)

    def decode(self, streams: Sequence[bytes], shape: tuple[int, ...], bits: int) -> dict[str, np.ndarray]:
        return format_of(bits).decode(streams, shape, bits)


CODER = RangeCoder()
