"""Classes of equal scale for a matrix of codes: the class of a code is its row's number plus its column's number.

Weights of one matrix differ in spread by row and by column, nearly as a product. One table for all would pay for that;
a table for each class of the product (one unit more is a fixed factor in scale) pays a few bits per row and column.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from golfpipe.codec.code_shapes import MAX_SYMBOL, fit_shapes
from golfpipe.codec.frequencies import entropy_bits

# Shapes: R rows, C codes per row, K classes, S symbols

MAX_CLASSES = 64
_UNITS = (2, 4)
"""Tried sizes of a class, in eighths of an octave."""
_ARRAY_BITS = 24
"""Cost of an array of class numbers beside its entropy, about."""
_PROBE_CODES = 1 << 17
"""Codes that decide which partition is taken; all of them decide its tables."""


@dataclass(frozen=True, slots=True, eq=False)
class ScaleClasses:
    """A partition and its tables."""

    row_R: np.ndarray
    """int64, not negative."""
    column_C: np.ndarray
    """int64, not negative. The class of code (r, c) is row_R[r] + column_C[c]."""
    unit: int
    """Eighths of an octave from one class to the next."""
    log_scale_K: np.ndarray
    """int64: scale of each class's table (code_shapes)."""
    exponent: int
    """Index into code_shapes.EXPONENTS."""

    @property
    def class_RC(self) -> np.ndarray:
        """uint8 class of every code."""
        return self.row_R.astype(np.uint8)[:, None] + self.column_C.astype(np.uint8)


def plan_classes(codes_RC: np.ndarray, offset: float) -> ScaleClasses:
    """The cheapest of: no classes, classes by row, by column, by both, each with two sizes of a class."""
    num_rows, width = codes_RC.shape
    magnitude_RC = np.abs(codes_RC.astype(np.float32) + np.float32(offset))
    log_row_R, log_column_C = _log_spread(magnitude_RC)
    stride = max(1, codes_RC.size // _PROBE_CODES)
    probe = _symbols(codes_RC[::stride])
    zero_R, zero_C = np.zeros(num_rows, dtype=np.int64), np.zeros(width, dtype=np.int64)
    best = (_coded_bits(_counts(*probe, zero_R[::stride], zero_C)) * stride, zero_R, zero_C, 1)
    for unit in _UNITS:
        row_R, column_C = _numbers(log_row_R, unit), _numbers(log_column_C, unit)
        for rows, columns in ((row_R, zero_C), (zero_R, column_C), (row_R, column_C)):
            bits = _coded_bits(_counts(*probe, rows[::stride], columns)) * stride
            bits += sum(entropy_bits(np.bincount(part)) + _ARRAY_BITS for part in (rows, columns) if part.any())
            if bits < best[0]:
                best = (bits, rows, columns, unit)
    _, rows, columns, unit = best
    log_scale_K, exponent, _ = fit_shapes(class_counts(codes_RC, rows, columns), offset)
    return ScaleClasses(rows, columns, unit, log_scale_K, exponent)


def class_counts(codes_RC: np.ndarray, row_R: np.ndarray, column_C: np.ndarray) -> np.ndarray:
    """int64 counts [K, 2 most + 1] of the codes -most..most of each class, codes beyond MAX_SYMBOL moved to it."""
    return _counts(*_symbols(codes_RC), row_R, column_C)


def _symbols(codes_RC: np.ndarray) -> tuple[np.ndarray, int]:
    """(codes as intp from 0 on, as bincount takes them, the number of symbols)."""
    most = int(min(MAX_SYMBOL, max(-int(codes_RC.min()), int(codes_RC.max()), 1)))
    symbol_RC = codes_RC.astype(np.intp)
    np.clip(symbol_RC, -most, most, out=symbol_RC)
    symbol_RC += most
    return symbol_RC, 2 * most + 1


def _counts(symbol_RC: np.ndarray, symbols: int, row_R: np.ndarray, column_C: np.ndarray) -> np.ndarray:
    num_classes = int(row_R.max()) + int(column_C.max()) + 1
    index_RC = symbol_RC
    if row_R.any():
        index_RC = index_RC + row_R[:, None] * symbols
    if column_C.any():
        index_RC = np.add(index_RC, column_C * symbols, out=None if index_RC is symbol_RC else index_RC)
    return np.bincount(index_RC.reshape(-1), minlength=num_classes * symbols).reshape(num_classes, symbols)


def _log_spread(magnitude_RC: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """log2 of the mean magnitudes of rows and, after division by these, of columns. Drawn a little to the mean, so that
    a row of zeros has a number too."""
    mean = max(float(magnitude_RC.mean(dtype=np.float64)), 1e-6)
    row_R = (magnitude_RC.sum(axis=1, dtype=np.float64) + mean) / (magnitude_RC.shape[1] + 1)
    weighted_C = np.einsum("rc,r->c", magnitude_RC, (1 / row_R).astype(np.float32)).astype(np.float64)
    column_C = (weighted_C + 1) / (magnitude_RC.shape[0] + 1)
    return np.log2(row_R), np.log2(column_C)


def _numbers(log_spread: np.ndarray, unit: int) -> np.ndarray:
    """Spreads -> class numbers from 0 on, at most half of MAX_CLASSES."""
    numbers = np.rint(log_spread * 8 / unit).astype(np.int64)
    middle, half = int(np.median(numbers)), MAX_CLASSES // 4 - 1
    numbers = np.clip(numbers, middle - half, middle + half)
    from_zero: np.ndarray = numbers - numbers.min()
    return from_zero


def _coded_bits(counts_KS: np.ndarray) -> float:
    """Entropy of each class's codes, and what misfit and scale of a class cost beside it."""
    total_K1 = counts_KS.sum(axis=1, keepdims=True)
    bits_KS = counts_KS * np.log2(np.maximum(total_K1, 1) / np.maximum(counts_KS, 1))
    return float(bits_KS.sum()) + 4 * int(np.count_nonzero(total_K1))
