"""A piece as byte streams, and back: which streams each coder writes for codes, scales and floats.

| coder | piece on a grid | piece of open-ended codes | float piece |
|---|---|---|---|
| range | codes less the grid's smallest, low bytes of the scales, high bytes | open_codes.py | byte planes, low first |
| nibble | codes (two int4 per byte, else one), scales; each lzma | codes, log steps; each lzma | values, lzma |

Planes, because the high byte of an fp16 number (sign, exponent, 2 bits) takes few values and the low one looks random.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np

from golfpipe.codec.frequencies import count_symbols, entropy_bits
from golfpipe.codec.nibble import compress_lzma, decompress_lzma, pack_int4, unpack_int4
from golfpipe.codec.open_codes import ideal_open_bits, open_piece_to_streams, streams_to_open_codes
from golfpipe.codec.pieces import FLOAT_DTYPES, OPEN_STATES, Piece, code_bounds, row_layout
from golfpipe.codec.symbols import decode_symbols, encode_symbols
from golfpipe.errors import ArtifactError

# Shapes: R rows, C codes per row, N values, W bytes per value

Coder = Literal["range", "nibble"]


def num_streams(bits: int, coder: Coder) -> int:
    """How many streams a piece of that width has."""
    if bits in FLOAT_DTYPES:
        return bits // 8 if coder == "range" else 1
    return 3 if coder == "range" else 2  # for codes of either kind


def piece_to_streams(piece: Piece, coder: Coder) -> list[bytes]:
    """The coded streams of one piece, in the order of the table above."""
    if coder == "range":
        if piece.bits in OPEN_STATES:
            return open_piece_to_streams(piece)
        return [encode_symbols(symbols_N) for symbols_N in _symbol_planes(piece)]
    if piece.floats is not None:
        return [compress_lzma(_little_endian(piece.floats).tobytes())]
    assert piece.codes is not None and piece.scales is not None
    codes = pack_int4(piece.codes) if piece.bits == 4 else _little_endian(piece.codes)
    return [compress_lzma(codes.tobytes()), compress_lzma(_little_endian(piece.scales).tobytes())]


def streams_to_piece(streams: Sequence[bytes], *, name: str, shape: tuple[int, ...], bits: int, coder: Coder) -> Piece:
    """Inverse of piece_to_streams. The caller has bounded the number of values. ArtifactError names the tensor."""
    num_values, (num_rows, width) = math.prod(shape), row_layout(shape)
    try:
        if bits in FLOAT_DTYPES:
            floats_N = _decode_floats(streams, num_values, np.dtype(FLOAT_DTYPES[bits]), coder)
        elif bits in OPEN_STATES:
            codes_RC, scales_R = _decode_open(streams, shape, bits, coder)
        else:
            codes_RC = _decode_codes(streams[0], num_rows, width, bits, coder)
            scales_R = _decode_floats(streams[1:], num_rows, np.dtype(np.float16), coder)
    except ArtifactError as error:
        raise ArtifactError(f"packed payload, tensor {name!r}: {error.message}") from error
    if bits in FLOAT_DTYPES:
        return Piece(name=name, shape=shape, bits=bits, floats=floats_N.reshape(shape))
    if bits in OPEN_STATES:
        return Piece(name=name, shape=shape, bits=bits, codes=codes_RC, scales=scales_R)
    return Piece(name=name, shape=shape, bits=bits, codes=codes_RC, scales=scales_R.reshape(num_rows, 1))


def ideal_bytes(piece: Piece) -> float:
    """Order-0 entropy of the piece in bytes: of its codes, and of each byte plane of its scales or floats.

    What a static model per stream cannot beat; the coded size exceeds it by tables and rounding only. Of open-ended
    codes: their length under the tables that code them, plus what the arrays of steps would take at order 0.
    """
    if piece.bits in OPEN_STATES:
        assert piece.scales is not None
        num_rows = row_layout(piece.shape)[0]
        steps = sum(
            entropy_bits(np.unique(part, return_counts=True)[1])
            for part in (piece.scales[:num_rows], piece.scales[num_rows:])
        )
        return (ideal_open_bits(piece) + steps) / 8
    return sum(plane_bits(piece)) / 8


def plane_bits(piece: Piece) -> list[float]:
    """Order-0 entropy in bits of each stream of a piece of floats or of bounded codes; codes come first."""
    return [entropy_bits(count_symbols(symbols_N)) for symbols_N in _symbol_planes(piece)]


def _symbol_planes(piece: Piece) -> list[np.ndarray]:
    if piece.floats is not None:
        return _byte_planes(piece.floats)
    assert piece.codes is not None and piece.scales is not None
    # Wraps round in int8 on the way from -8..7 to 0..15, and lands right because uint8 has the same low bits.
    codes_N = piece.codes.reshape(-1).view(np.uint8) - np.uint8(code_bounds(piece.bits)[0] & 255)
    return [codes_N, *_byte_planes(piece.scales)]


def _byte_planes(values: np.ndarray) -> list[np.ndarray]:
    bytes_NW = _little_endian(values).reshape(-1, 1).view(np.uint8)
    return [np.ascontiguousarray(bytes_NW[:, i]) for i in range(bytes_NW.shape[1])]


def _decode_codes(stream: bytes, num_rows: int, width: int, bits: int, coder: Coder) -> np.ndarray:
    """int8 [R, C]. Codes outside the grid are found when the piece is built."""
    if coder == "range":
        symbols_RC = decode_symbols(stream, num_rows * width).reshape(num_rows, width)
        if symbols_RC.max() >> bits:
            raise ArtifactError(f"symbol {symbols_RC.max()} exceeds the int{bits} range")
        return (symbols_RC + np.uint8(code_bounds(bits)[0] & 255)).view(np.int8)
    row_bytes = (width + 1) // 2 if bits == 4 else width
    raw = _decompress_exactly(stream, num_rows * row_bytes)
    if bits == 4:
        return unpack_int4(np.frombuffer(raw, dtype=np.uint8).reshape(num_rows, row_bytes), width)
    return np.frombuffer(raw, dtype=np.int8).reshape(num_rows, width).copy()


def _decode_open(
    streams: Sequence[bytes], shape: tuple[int, ...], bits: int, coder: Coder
) -> tuple[np.ndarray, np.ndarray]:
    """Codes int16 [R, C] and log steps int16 [R + C]; their ranges are checked when the piece is built."""
    if coder == "range":
        return streams_to_open_codes(streams, shape, bits)
    num_rows, width = row_layout(shape)
    codes, steps = (
        np.frombuffer(_decompress_exactly(stream, 2 * count), dtype="<i2").astype(np.int16)
        for stream, count in zip(streams, (num_rows * width, num_rows + width), strict=True)
    )
    return codes.reshape(num_rows, width), steps


def _decode_floats(streams: Sequence[bytes], num_values: int, dtype: np.dtype, coder: Coder) -> np.ndarray:
    if coder == "nibble":
        raw = _decompress_exactly(streams[0], num_values * dtype.itemsize)
        return np.frombuffer(raw, dtype=dtype.newbyteorder("<")).astype(dtype)
    planes = [decode_symbols(stream, num_values) for stream in streams]
    bytes_NW = np.stack(planes, axis=1)
    return bytes_NW.view(dtype.newbyteorder("<")).reshape(-1).astype(dtype, copy=False)


def _decompress_exactly(stream: bytes, num_bytes: int) -> bytes:
    raw = decompress_lzma(stream, max_bytes=num_bytes)
    if len(raw) != num_bytes:
        raise ArtifactError(f"lzma stream holds {len(raw)} bytes, expected {num_bytes}")
    return raw


def _little_endian(values: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(values).astype(values.dtype.newbyteorder("<"), copy=False)
