"""The plain packing: two int4 codes per byte, then lzma. The baseline that entropy coding is measured against."""

from __future__ import annotations

import lzma

import numpy as np

from golfpipe.errors import ArtifactError

# Shapes: R rows, C codes per row, P = ceil(C / 2) bytes per row

# Spelled out instead of a preset: the filter is part of the format and the reader must know it.
_LZMA_FILTERS = [
    {"id": lzma.FILTER_LZMA2, "preset": 6, "dict_size": 1 << 23, "lc": 3, "lp": 0, "pb": 2},
]


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


def compress_lzma(data: bytes) -> bytes:
    """Raw LZMA2 stream: no container, no checksum (the payload has its own)."""
    return lzma.compress(data, format=lzma.FORMAT_RAW, filters=_LZMA_FILTERS)


def decompress_lzma(data: bytes, *, max_bytes: int) -> bytes:
    """LZMA2 stream -> its bytes, at most max_bytes of them. ArtifactError for more, for damage, for a cut."""
    decoder = lzma.LZMADecompressor(format=lzma.FORMAT_RAW, filters=_LZMA_FILTERS)
    try:
        # One byte of room beyond the limit: it tells "too long" apart, and the end marker is read too.
        out = decoder.decompress(data, max_length=max_bytes + 1)
    except lzma.LZMAError as error:
        raise ArtifactError(f"lzma stream is damaged: {error}") from error
    if len(out) > max_bytes:
        raise ArtifactError(f"lzma stream holds more than {max_bytes} bytes")
    if not decoder.eof or decoder.unused_data:
        raise ArtifactError("lzma stream is cut off or has bytes left over")
    return out
