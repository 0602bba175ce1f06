"""Pieces of plain floats: a stream for each byte of the numbers, the low one first.

The high byte of an fp16 number (sign, exponent, 2 bits) takes few values, and the low one looks random, so each has a
table of its own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from golfpipe.codec.formats import Format, IdealSize
from golfpipe.codec.frequencies import count_symbols, entropy_bits
from golfpipe.codec.pieces import FLOAT_DTYPES, Piece
from golfpipe.codec.symbols import byte_planes, decode_planes, encode_symbols


class Floats(Format):
    """Numbers as they are, fp16 or fp32."""

    def num_streams(self, bits: int) -> int:
        return bits // 8

    def encode(self, piece: Piece) -> list[bytes]:
        assert piece.floats is not None
        return [encode_symbols(plane_N) for plane_N in byte_planes(piece.floats)]

    def decode(self, streams: Sequence[bytes], shape: tuple[int, ...], bits: int) -> dict[str, np.ndarray]:
        return {"floats": decode_planes(streams, math.prod(shape), np.dtype(FLOAT_DTYPES[bits])).reshape(shape)}

    def ideal_size(self, piece: Piece) -> IdealSize:
        assert piece.floats is not None
        return IdealSize(sum(entropy_bits(count_symbols(plane_N)) for plane_N in byte_planes(piece.floats)), None)

    def weights(self, piece: Piece) -> np.ndarray:
        assert piece.floats is not None
        return piece.floats.astype(np.float32)


FORMAT = Floats()
