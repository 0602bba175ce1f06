"""A stored tensor: integer codes with scales or steps, or plain floats. What the container packs.

Torch-free: numpy arrays go in and out, so that decoding needs nothing but numpy and the coder.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from golfpipe.errors import ArtifactError

# Shapes: R rows, C values per row; N values in all, N = R * C

FLOAT_DTYPES: dict[int, type[np.floating]] = {16: np.float16, 32: np.float32}
"""Bits of a float piece -> numpy dtype. Every other width from 2 to 8 means codes of a fixed grid with row scales."""
OPEN_STATES: dict[int, int] = {0: 1, -4: 4, -8: 8}
"""`bits` of a piece with open-ended codes -> states of its quantizer: 1 scalar, 4 and 8 trellis-coded. Their width in
bits is whatever the entropy coder makes of them."""
LOG_STEPS = 256
"""Steps of open-ended codes are powers of 2^(1/256), stored as their exponents: 0.27 % apart,
far below what matters."""
MAX_LOG_STEP = 48 * LOG_STEPS
"""Largest magnitude of a stored exponent: no product of two steps and a code leaves fp32's range."""
MAX_OPEN_CODE = 32_000


def format_name(bits: int) -> str:
    """Return which kind of piece has these `bits`: 'float', 'grid' or 'open'. Raises ArtifactError where none has."""
    if bits in FLOAT_DTYPES:
        return "float"
    if bits in OPEN_STATES:
        return "open"
    if 2 <= bits <= 8:
        return "grid"
    raise ArtifactError(f"bits={bits} must be 2..8, 16 or 32, or 0, -4, -8 for open-ended codes")


def code_bounds(bits: int) -> tuple[int, int]:
    """Smallest and largest code of the two's complement grid: 4 -> (-8, 7), 6 -> (-32, 31)."""
    assert 2 <= bits <= 8
    return -(1 << (bits - 1)), (1 << (bits - 1)) - 1


def row_layout(shape: tuple[int, ...]) -> tuple[int, int]:
    """Tensor shape -> (R, C). A vector or a scalar is one row; leading axis = rows otherwise.

    (512, 1792) -> (512, 1792); (8,) -> (1, 8); () -> (1, 1).
    """
    if len(shape) < 2:
        return 1, math.prod(shape)
    return shape[0], math.prod(shape[1:])


def array_layout(shape: tuple[int, ...], bits: int) -> dict[str, tuple[np.dtype, tuple[int, ...]]]:
    """Return the arrays that a piece of that shape and these `bits` has: field -> (dtype, shape). Raises ArtifactError
    as format_name does."""
    num_rows, width = row_layout(shape)
    match format_name(bits):
        case "float":
            return {"floats": (np.dtype(FLOAT_DTYPES[bits]), shape)}
        case "open":
            return {
                "codes": (np.dtype(np.int16), (num_rows, width)),
                "scales": (np.dtype(np.int16), (num_rows + width,)),
            }
        case _:
            return {"codes": (np.dtype(np.int8), (num_rows, width)), "scales": (np.dtype(np.float16), (num_rows, 1))}


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Piece:
    """One tensor as it is stored. Raises ArtifactError where the parts contradict each other."""

    name: str
    shape: tuple[int, ...]
    """Shape of the weight; every axis at least 1."""
    bits: int
    """2..8: `codes` on that grid and `scales`; 16 or 32: `floats`; 0, -4, -8: open-ended `codes` and log steps."""
    codes: np.ndarray | None = None
    """int8 [R, C], each within code_bounds(bits); int16 of at most MAX_OPEN_CODE where they are open-ended."""
    scales: np.ndarray | None = None
    """fp16 [R, 1], finite, not negative: weight ~ code * scale. For open-ended codes int16 [R + C], the exponents of
    row steps and column steps: weight ~ point * 2^(row / LOG_STEPS) * 2^(column / LOG_STEPS), where the point of a
    scalar quantizer is the code itself."""
    floats: np.ndarray | None = None
    """fp16 or fp32 of `shape`, finite."""

    def __post_init__(self) -> None:
        if not self.name or any(type(width) is not int or width < 1 for width in self.shape):
            raise ArtifactError(f"tensor {self.name!r}: shape {self.shape} must hold positive whole numbers")
        self._check_layout()
        checks = {"float": self._check_floats, "open": self._check_open_codes, "grid": self._check_codes}
        checks[format_name(self.bits)]()

    @property
    def num_values(self) -> int:
        return math.prod(self.shape)

    def _check_layout(self) -> None:
        try:
            layout = array_layout(self.shape, self.bits)
        except ArtifactError as error:
            raise ArtifactError(f"tensor {self.name!r}: {error.message}") from error
        arrays = {"codes": self.codes, "scales": self.scales, "floats": self.floats}
        if {part for part, array in arrays.items() if array is not None} != layout.keys():
            raise ArtifactError(f"tensor {self.name!r}: bits={self.bits} means {' and '.join(layout)} and nothing else")
        for part, (dtype, shape) in layout.items():
            array = arrays[part]
            assert array is not None
            if array.dtype != dtype or array.shape != shape:
                raise ArtifactError(
                    f"tensor {self.name!r}: {part} are {array.dtype} {list(array.shape)},"
                    f" expected {dtype} {list(shape)}"
                )

    def _check_floats(self) -> None:
        assert self.floats is not None
        if not np.isfinite(self.floats).all():
            raise ArtifactError(f"tensor {self.name!r}: holds NaN or infinite values")

    def _check_codes(self) -> None:
        assert self.codes is not None and self.scales is not None
        q_min, q_max = code_bounds(self.bits)
        lowest, highest = int(self.codes.min()), int(self.codes.max())
        if lowest < q_min or highest > q_max:
            raise ArtifactError(
                f"tensor {self.name!r}: codes {lowest}..{highest} exceed the int{self.bits} range {q_min}..{q_max}"
            )
        if not (np.isfinite(self.scales) & (self.scales >= 0)).all():
            raise ArtifactError(f"tensor {self.name!r}: scales must be finite and not negative")

    def _check_open_codes(self) -> None:
        assert self.codes is not None and self.scales is not None
        for part, values, most in (("code", self.codes, MAX_OPEN_CODE), ("log step", self.scales, MAX_LOG_STEP)):
            largest = max(-int(values.min()), int(values.max()))
            if largest > most:
                raise ArtifactError(f"tensor {self.name!r}: {part} of magnitude {largest}, at most {most} are stored")
