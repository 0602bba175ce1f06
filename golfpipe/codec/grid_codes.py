"""Pieces on a fixed grid: the codes, less the grid's smallest one, and the two bytes of the row scales."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from golfpipe.codec.formats import Format, IdealSize
from golfpipe.codec.frequencies import count_symbols, entropy_bits
from golfpipe.codec.pieces import Piece, code_bounds, row_layout
from golfpipe.codec.symbols import byte_planes, decode_planes, decode_symbols, encode_symbols
from golfpipe.errors import ArtifactError


class GridCodes(Format):
    """Codes of 2 to 8 bits with a scale for each row."""

    def num_streams(self, bits: int) -> int:
        return 3

    def encode(self, piece: Piece) -> list[bytes]:
        return [encode_symbols(symbols_N) for symbols_N in _symbol_planes(piece)]

    def decode(self, streams: Sequence[bytes], shape: tuple[int, ...], bits: int) -> dict[str, np.ndarray]:
        num_rows, width = row_layout(shape)
        symbols_RC = decode_symbols(streams[0], num_rows * width).reshape(num_rows, width)
        if symbols_RC.max() >> bits:
            raise ArtifactError(f"symbol {symbols_RC.max()} exceeds the int{bits} range")
        codes_RC = (symbols_RC + _first_symbol(bits)).view(np.int8)
        scales_R = decode_planes(streams[1:], num_rows, np.dtype(np.float16))
        return {"codes": codes_RC, "scales": scales_R.reshape(num_rows, 1)}

    def ideal_size(self, piece: Piece) -> IdealSize:
        bits = [entropy_bits(count_symbols(symbols_N)) for symbols_N in _symbol_planes(piece)]
        return IdealSize(sum(bits), bits[0])

    def weights(self, piece: Piece) -> np.ndarray:
        # Exact: 8 bits times fp16's 11 significant bits fit in fp32's 24.
        assert piece.codes is not None and piece.scales is not None
        return (piece.codes.astype(np.float32) * piece.scales.astype(np.float32)).reshape(piece.shape)


def _symbol_planes(piece: Piece) -> list[np.ndarray]:
    assert piece.codes is not None and piece.scales is not None
    # Wraps round in int8 on the way from -8..7 to 0..15, and lands right because uint8 has the same low bits.
    codes_N = piece.codes.reshape(-1).view(np.uint8) - _first_symbol(piece.bits)
    return [codes_N, *byte_planes(piece.scales)]


def _first_symbol(bits: int) -> np.uint8:
    """The grid's smallest code as a byte."""
    return np.uint8(code_bounds(bits)[0] & 255)


FORMAT = GridCodes()
