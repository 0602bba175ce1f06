"""Reads the state dicts that payloads of `compress` hold, as reader.py reads payloads: from the page alone."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from reader import Numbers, Piece, read_pieces, require

WIDTHS = {
    **dict.fromkeys(("bool", "int8", "uint8", "float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz"), 1),
    **dict.fromkeys(("float8_e8m0fnu",), 1),
    **dict.fromkeys(("int16", "uint16", "float16", "bfloat16"), 2),
    **dict.fromkeys(("int32", "uint32", "float32", "complex32"), 4),
    **dict.fromkeys(("int64", "uint64", "float64", "complex64"), 8),
    "complex128": 16,
}
"""The bytes of a number of each of PyTorch's types that a state dict may have."""
FLOATS = {"float16": "<f2", "float32": "<f4", "float64": "<f8"}
EIGHT_BITS = {
    "float8_e4m3fn": (3, 7, 0x7E, 0x7E),
    "float8_e5m2": (2, 15, 0x7B, 0x7C),
    "float8_e4m3fnuz": (3, 8, 0x7F, 0x80),
    "float8_e5m2fnuz": (2, 16, 0x7F, 0x80),
}
"""Bits of the fraction, bias of the exponent, the largest number's code, and the code of everything above it."""


@dataclass(frozen=True)
class Tensor:
    """A tensor of a state dict: the name of PyTorch's type, and the bytes of its numbers, the last axis fastest."""

    dtype: str
    shape: tuple[int, ...]
    data: bytes


def read_state_dict(payload: bytes) -> dict[str, Tensor]:
    """Return the tensors of a state dict in order; two names of one tensor give the same object."""
    model, pieces = read_pieces(payload)
    require(set(model) == {"weights"}, "this is no state dict")
    left = iter(pieces)
    tensors: dict[str, Tensor] = {}
    of_lines: list[Tensor | None] = []
    for name, *line in model["weights"]:
        require(name not in tensors, "a name occurs twice")
        if len(line) == 1:
            require(0 <= line[0] < len(of_lines), "a line names a later one")
            tensor = of_lines[line[0]]
            require(tensor is not None, "a line names one that names another")
            of_lines.append(None)
        else:
            dtype, shape, count, axis = line
            require(dtype in WIDTHS and 0 <= axis < max(len(shape), 1), "there is no such type or axis")
            of_line = list(itertools.islice(left, count))
            require(len(of_line) == count, "there are fewer pieces than lines need")
            tensor = _tensor(dtype, tuple(shape), of_line, axis)
            of_lines.append(tensor)
        tensors[name] = tensor
    require(next(left, None) is None, "a piece belongs to no tensor")
    return tensors


def _tensor(dtype: str, shape: tuple[int, ...], pieces: list[Piece], axis: int) -> Tensor:
    if len(pieces) == 1 and pieces[0].exact:
        data = pieces[0].numbers.tobytes()
    else:
        require(not any(piece.exact for piece in pieces), "an exact piece is one of several")
        flat = np.concatenate([np.zeros(0, np.float32), *(piece.numbers.reshape(-1) for piece in pieces)])
        require(len(flat) == math.prod(shape), "the pieces have another number of weights")
        moved = (*shape[axis : axis + 1], *shape[:axis], *shape[axis + 1 :])
        weights = np.moveaxis(flat.reshape(moved), 0, axis) if shape else flat
        data = _rounded(weights, dtype) if pieces else b""
    require(len(data) == WIDTHS[dtype] * math.prod(shape), "the pieces have other bytes than the tensor")
    return Tensor(dtype, shape, data)


def _rounded(weights: NDArray[np.float32], dtype: str) -> bytes:
    """The bytes of fp32 numbers in another type."""
    if dtype == "bfloat16":
        bits = np.ascontiguousarray(weights).view("<u4").astype(np.uint64)
        return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype("<u2").tobytes()
    if dtype == "float8_e8m0fnu":
        between = 1.5 * 2.0 ** np.arange(-127, 128)
        return np.searchsorted(between, np.abs(weights), side="right").astype(np.uint8).tobytes()
    if dtype in EIGHT_BITS:
        return _eight_bits(weights.astype(np.float64), *EIGHT_BITS[dtype]).astype(np.uint8).tobytes()
    require(dtype in FLOATS, "fp32 weights belong to a tensor of another type")
    with np.errstate(over="ignore"):
        return weights.astype(FLOATS[dtype]).tobytes()


def _eight_bits(weights: Numbers, fraction_bits: int, bias: int, largest: int, above: int) -> Numbers:
    """The codes of the nearest numbers of a type; of two equally near ones the even code."""
    exponents, fractions = np.divmod(np.arange(largest + 2), 1 << fraction_bits)
    normal = exponents > 0
    numbers = np.ldexp(normal + fractions / (1 << fraction_bits), np.where(normal, exponents, 1) - bias)
    between = (numbers[:-1] + numbers[1:]) / 2
    below, to = (np.searchsorted(between, np.abs(weights), side=side) for side in ("left", "right"))
    codes = np.where(below % 2 == 0, below, to)
    signs = 0x80 * np.signbit(weights)
    if above == 0x80:  # these types have one zero, and the code of the other one is NaN
        return np.where(codes > largest, above, np.where(codes > 0, codes | signs, 0))
    return np.where(codes > largest, above, codes) | signs
