"""Pieces of any numbers bit by bit: a stream for each byte of the numbers, the low one first.

A plane is coded as symbols.py does, or by LZMA (mode byte 2) where its values follow a pattern, as counters and masks
do, and a static model would see none.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from golfpipe.codec.formats import Format, IdealSize
from golfpipe.codec.frequencies import count_symbols, entropy_bits
from golfpipe.codec.lzma_stream import compress_lzma, decompress_lzma
from golfpipe.codec.pieces import EXACT_DTYPES, Piece
from golfpipe.codec.symbols import byte_planes, decode_symbols, encode_symbols
from golfpipe.errors import ArtifactError

_MODE_LZMA = 2
_PROBE_BYTES = 1 << 16
"""LZMA is slow, so the first bytes of a plane decide whether all of it is tried."""


class Exact(Format):
    """Numbers of any type, whose bits are kept."""

    def num_streams(self, bits: int) -> int:
        return np.dtype(EXACT_DTYPES[bits]).itemsize

    def encode(self, piece: Piece) -> list[bytes]:
        assert piece.raw is not None
        return [_encode_plane(plane_N) for plane_N in byte_planes(piece.raw)]

    def decode(self, streams: Sequence[bytes], shape: tuple[int, ...], bits: int) -> dict[str, np.ndarray]:
        dtype, num_values = np.dtype(EXACT_DTYPES[bits]), math.prod(shape)
        bytes_NW = np.stack([_decode_plane(stream, num_values) for stream in streams], axis=1)
        values_N = bytes_NW.view(dtype.newbyteorder("<")).reshape(shape).astype(dtype, copy=False)
        return {"raw": values_N}

    def ideal_size(self, piece: Piece) -> IdealSize:
        assert piece.raw is not None
        return IdealSize(sum(entropy_bits(count_symbols(plane_N)) for plane_N in byte_planes(piece.raw)), None)

    def weights(self, piece: Piece) -> np.ndarray:
        assert piece.raw is not None
        return piece.raw


def _encode_plane(plane_N: np.ndarray) -> bytes:
    coded = encode_symbols(plane_N)
    probe = plane_N[:_PROBE_BYTES]
    if len(compress_lzma(probe.tobytes())) < entropy_bits(count_symbols(probe)) / 8:
        packed = bytes((_MODE_LZMA,)) + compress_lzma(plane_N.tobytes())
        return min(coded, packed, key=len)
    return coded


def _decode_plane(stream: bytes, num_symbols: int) -> np.ndarray:
    if stream[:1] != bytes((_MODE_LZMA,)):
        return decode_symbols(stream, num_symbols)
    plane = decompress_lzma(stream[1:], max_bytes=num_symbols)
    if len(plane) != num_symbols:
        raise ArtifactError(f"lzma stream holds {len(plane)} bytes, expected {num_symbols}")
    return np.frombuffer(plane, dtype=np.uint8)


FORMAT = Exact()
