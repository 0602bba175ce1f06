"""A stored tensor: integer codes with scales or steps, plain floats, or any numbers as they are. What the container
packs.

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
EXACT_DTYPES: dict[int, type[np.unsignedinteger]] = {108: np.uint8, 116: np.uint16, 132: np.uint32, 164: np.uint64}
"""Bits of an exact piece, 100 more than the width of its numbers -> numpy dtype of that width. It holds numbers of any
type (integers, bools, bf16, floats beyond fp16) bit by bit; the payload's description knows which."""
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
    """Return which kind of piece has these `bits`: 'float', 'exact', 'grid' or 'open'. Raises ArtifactError where none
    has."""
    if bits in FLOAT_DTYPES:
        return "float"
    if bits in EXACT_DTYPES:
        return "exact"
    if bits in OPEN_STATES:
        return "open"
    if 2 <= bits <= 8:
        return "grid"
    raise ArtifactError(
        f"bits={bits} must be 2..8, 16 or 32, 0, -4, -8 for open-ended codes, or 108..164 for bits as they are"
    )


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
        case "exact":
            return {"raw": (np.dtype(EXACT_DTYPES[bits]), shape)}
        case "open":
            return {
                "codes": (np.dtype(np.int16), (num_rows, width)),
                "scales": (np.dtype(np.int16), (num_rows + width,)),
            }
        case _:
            return {"codes": (np.dtype(np.int8), (num_rows, width)), "scales": (np.dtype(np.float16), (num_rows, 1))}


@dataclass(frozen=True, kw_only=True, slots=True, eq=False, weakref_slot=True)
class Piece:
    """One tensor as it is stored. Raises ArtifactError where the parts contradict each other."""

    name: str
    shape: tuple[int, ...]
    """Shape of the weight; every axis at least 1."""
    bits: int
    """2..8: `codes` on that grid and `scales`; 16 or 32: `floats`; 0, -4, -8: open-ended `codes` and log steps;
    108, 116, 132, 164: `raw`."""
    codes: np.ndarray | None = None
    """int8 [R, C], each within code_bounds(bits); int16 of at most MAX_OPEN_CODE where they are open-ended."""
    scales: np.ndarray | None = None
    """fp16 [R, 1], finite, not negative: weight ~ code * scale. For open-ended codes int16 [R + C], the exponents of
    row steps and column steps: weight ~ point * 2^(row / LOG_STEPS) * 2^(column / LOG_STEPS), where the point of a
    scalar quantizer is the code itself."""
    floats: np.ndarray | None = None
    """fp16 or fp32 of `shape`, finite."""
    raw: np.ndarray | None = None
    """Unsigned integers of `shape`: the bits of numbers of another type."""

    def __post_init__(self) -> None:
        if not self.name or any(type(width) is not int or width < 1 for width in self.shape):
            raise ArtifactError(f"tensor {self.name!r}: shape {self.shape} must hold positive whole numbers")
        self._check_layout()
        checks = {"float": self._check_floats, "open": self._check_open_codes, "grid": self._check_codes}
        if check := checks.get(format_name(self.bits)):  # exact pieces may hold anything
            check()

    @property
    def num_values(self) -> int:
        return math.prod(self.shape)

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays that the piece has, by the names of their fields."""
        fields = {"codes": self.codes, "scales": self.scales, "floats": self.floats, "raw": self.raw}
        return {field: array for field, array in fields.items() if array is not None}

    def _check_layout(self) -> None:
        try:
            layout = array_layout(self.shape, self.bits)
        except ArtifactError as error:
            raise ArtifactError(f"tensor {self.name!r}: {error.message}") from error
        arrays = self.arrays
        if arrays.keys() != layout.keys():
            raise ArtifactError(f"tensor {self.name!r}: bits={self.bits} means {' and '.join(layout)} and nothing else")
        for part, (dtype, shape) in layout.items():
            array = arrays[part]
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
