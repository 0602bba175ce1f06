"""The coder `nibble`: two int4 codes per byte, then lzma. The baseline that entropy coding is measured against.

A stream each for codes (two int4 per byte, else one number each) and for scales or log steps; one stream for floats or
bits as they are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from golfpipe.codec.coder import Coder
from golfpipe.codec.lzma_stream import compress_lzma, decompress_lzma
from golfpipe.codec.pieces import Piece, array_layout
from golfpipe.errors import ArtifactError

# Shapes: R rows, C codes per row, P = ceil(C / 2) bytes per row


class Nibble(Coder):
    """The arrays of a piece as they are, each through lzma."""

    about = "two int4 codes per byte, then lzma"

    def num_streams(self, bits: int) -> int:
        return len(array_layout((1,), bits))

    def encode(self, piece: Piece) -> list[bytes]:
        return [
            _compressed(pack_int4(array) if piece.bits == 4 and part == "codes" else array)
            for part, array in piece.arrays.items()
        ]

    def decode(self, streams: Sequence[bytes], shape: tuple[int, ...], bits: int) -> dict[str, np.ndarray]:
        arrays = {}
        for stream, (part, (dtype, size)) in zip(streams, array_layout(shape, bits).items(), strict=True):
            if bits == 4 and part == "codes":
                packed_RP = _decompressed(stream, (size[0], (size[1] + 1) // 2), np.dtype(np.uint8))
                arrays[part] = unpack_int4(packed_RP, size[1])
            else:
                arrays[part] = _decompressed(stream, size, dtype)
        return arrays


def pack_int4(codes_RC: np.ndarray) -> np.ndarray:
    """int8 codes in -8..7 -> uint8 [R, P]. The first code of a pair takes the high half, stored as code + 8.

    A row of odd width ends with a pad code 0 (half byte 8). [[-8, 7, 0]] -> 0F 88.
    """
    num_rows, width = codes_RC.shape
    halves = np.full((num_rows, width + width % 2), 8, dtype=np.uint8)
    halves[:, :width] = codes_RC + np.int8(8)
    return halves[:, 0::2] << 4 | halves[:, 1::2]


def unpack_int4(packed_RP: np.ndarray, width: int) -> np.ndarray:
    """uint8 [R, P] -> int8 codes [R, width]. Raises ArtifactError for another P or a pad that is not 0."""
    num_rows, row_bytes = packed_RP.shape
    if row_bytes != (width + 1) // 2:
        raise ArtifactError(f"packed int4 rows have {row_bytes} bytes, expected {(width + 1) // 2} for {width} codes")
    halves = np.empty((num_rows, 2 * row_bytes), dtype=np.uint8)
    halves[:, 0::2] = packed_RP >> 4
    halves[:, 1::2] = packed_RP & 15
    if width % 2 and (halves[:, width] != 8).any():
        raise ArtifactError("packed int4 row of odd width does not end with the pad code 0")
    return halves[:, :width].astype(np.int8) - np.int8(8)


def _compressed(values: np.ndarray) -> bytes:
    return compress_lzma(np.ascontiguousarray(values).astype(values.dtype.newbyteorder("<"), copy=False).tobytes())


def _decompressed(stream: bytes, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """An array of that shape. Raises ArtifactError for any other length."""
    num_bytes = math.prod(shape) * dtype.itemsize
    raw = decompress_lzma(stream, max_bytes=num_bytes)
    if len(raw) != num_bytes:
        raise ArtifactError(f"lzma stream holds {len(raw)} bytes, expected {num_bytes}")
    return np.frombuffer(raw, dtype=dtype.newbyteorder("<")).astype(dtype).reshape(shape)


CODER = Nibble()
