"""Frequency tables of open-ended codes from two numbers: a scale and an exponent of the generalized Gaussian.

p(k) is proportional to the mean of 2^-(|x| / a)^b over the bin k - 1/2 .. k + 1/2, shifted by the quantizer's offset.
A table is never written: encoder and decoder compute it, in arithmetic that is exact or correctly rounded on every
machine (no library exp, no sums of fractions). Symbols beyond the table's end are escapes: the end symbol is coded and
the rest follows outside.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import constriction
import numpy as np

from golfpipe.codec.pieces import OPEN_STATES

# Shapes: S symbols of a table, from -M to M

SHAPE_TOTAL = 1 << 16
"""Frequencies of a table sum to this."""
EXPONENTS = (2.0, 1.75, 1.5, 1.25, 1.0, 0.75, 0.5)
"""Exponents b of the family: 2 Gaussian, 1 Laplace."""
MIN_LOG_SCALE, MAX_LOG_SCALE = -32, 88
"""Range of the scale's exponent: a = 2^(log_scale / 8)."""
MAX_SYMBOL = 511
TRELLIS_OFFSET = 0.25
"""Center of a trellis code's bin: index k stands for the point 2 k + 1/2, in units of two steps."""

_BIN_POINTS = 8
_FIXED_POINT = 1 << 40
_TAIL_BITS = 18.0  # beyond the point where the density is 2^-18 of its peak everything is an escape
_LN2_POWERS = [math.log(2) ** n / math.factorial(n) for n in range(14)]


def code_offset(bits: int) -> float:
    """Return where the bins of a piece's codes are centered, in units of codes. bits: see Piece."""
    return TRELLIS_OFFSET if OPEN_STATES[bits] > 1 else 0.0


def exact_exp2(x: np.ndarray) -> np.ndarray:
    """2^x in fp64 by single multiplications and additions, so that every machine gets the same bits."""
    whole = np.rint(x)
    part = x - whole
    value = np.full_like(part, _LN2_POWERS[-1])
    for coefficient in reversed(_LN2_POWERS[:-1]):
        value = value * part
        value = value + coefficient
    result: np.ndarray = np.ldexp(value, np.maximum(whole, -1000).astype(np.int32))
    return result


def exact_power(x: np.ndarray, exponent: float) -> np.ndarray:
    """x^exponent for x >= 0 and a multiple of 1/4, by products and square roots, which IEEE rounds correctly."""
    quarter = np.sqrt(np.sqrt(x))
    value = np.ones_like(x)
    for _ in range(round(4 * exponent)):
        value = value * quarter
    return value


def scale_of(log_scale: int) -> float:
    """a = 2^(log_scale / 8)."""
    return float(2.0 ** (log_scale / 8))


@functools.lru_cache(maxsize=1 << 14)
def shape_frequencies(log_scale: int, exponent_index: int, offset: float) -> np.ndarray:
    """int64 frequencies [2 M + 1] of the symbols -M..M; each at least 1, SHAPE_TOTAL together. Do not write to it."""
    assert MIN_LOG_SCALE <= log_scale <= MAX_LOG_SCALE
    exponent, scale = EXPONENTS[exponent_index], scale_of(log_scale)
    most = min(MAX_SYMBOL, max(1, math.ceil(scale * _TAIL_BITS ** (1 / exponent))))
    centers_S = np.arange(-most, most + 1, dtype=np.float64) + offset
    points = (np.arange(_BIN_POINTS) - (_BIN_POINTS - 1) / 2) / _BIN_POINTS
    density = exact_exp2(-exact_power(np.abs(centers_S[:, None] + points) / scale, exponent))
    weights_S = np.floor(density * _FIXED_POINT).astype(np.int64).sum(axis=1)
    # 44-bit weights times 16 bits stay within int64.
    share_S: np.ndarray = weights_S * (SHAPE_TOTAL - len(weights_S)) // weights_S.sum() + 1
    # Rounding down leaves fewer units than there are symbols; the middle ones get one each.
    missing = SHAPE_TOTAL - int(share_S.sum())
    first = most - missing // 2
    share_S[first : first + missing] += 1
    share_S.setflags(write=False)
    return share_S


@functools.lru_cache(maxsize=1 << 14)
def shape_bits(log_scale: int, exponent_index: int, offset: float) -> np.ndarray:
    """Code length of each symbol -M..M in bits, fp64."""
    bits_S: np.ndarray = np.log2(SHAPE_TOTAL / shape_frequencies(log_scale, exponent_index, offset))
    bits_S.setflags(write=False)
    return bits_S


def shape_model(log_scale: int, exponent_index: int, offset: float) -> constriction.stream.model.Categorical:
    """The coder's model of the symbols 0..2 M. A product of 16 and 24 bits is exact in fp64."""
    frequencies_S = shape_frequencies(log_scale, exponent_index, offset)
    return constriction.stream.model.Categorical(frequencies_S / SHAPE_TOTAL, perfect=False)


@functools.lru_cache(maxsize=1 << 13)
def code_bits(log_scale: int, exponent_index: int, offset: float, most: int) -> np.ndarray:
    """Code length in bits of every code -most..most, fp64 [2 most + 1]; an escape adds its 16 bits. Read only."""
    bits_S = shape_bits(log_scale, exponent_index, offset)
    half, index_S = len(bits_S) // 2, np.arange(-most, most + 1)
    lengths: np.ndarray = bits_S[np.clip(index_S, -half, half) + half] + 16.0 * (np.abs(index_S) >= half)
    lengths.setflags(write=False)
    return lengths


def fit_shapes(
    counts_KS: np.ndarray, offset: float, exponents: Sequence[int] = range(len(EXPONENTS))
) -> tuple[np.ndarray, int, np.ndarray]:
    """Counts of the codes -most..most of K classes -> (log_scale int64 [K], exponent index, bits fp64 [K]).

    The cheapest scale of each class and the one exponent that is cheapest for all. counts [K, 2 most + 1], most at
    most MAX_SYMBOL.
    """
    most = counts_KS.shape[1] // 2
    width = min(MAX_SYMBOL, 1 << max(most - 1, 0).bit_length())  # few widths: the tables of bits are kept
    padded_KS = np.pad(counts_KS, ((0, 0), (width - most, width - most))).astype(np.float64)
    magnitude_S = np.abs(np.arange(-width, width + 1) + offset)
    # No matrix products here: their threads wait for each other longer than they work, and the order of sums varies.
    mean_K = (np.einsum("ks,s->k", padded_KS, magnitude_S) + 0.05) / (padded_KS.sum(axis=1) + 1)
    near_K = 8 * np.log2(np.maximum(mean_K, 0.05))
    best: tuple[np.ndarray, int, np.ndarray] | None = None
    for exponent in exponents:
        # The scale that has this mean in a continuous density; where codes are nearly all 0 it lies below.
        guess_K = near_K + 8 * math.log2(_scale_per_mean(EXPONENTS[exponent]))
        least = max(MIN_LOG_SCALE, math.floor(guess_K.min()) - (16 if near_K.min() < 0 else 4))
        last = min(MAX_LOG_SCALE, math.ceil(guess_K.max()) + 4)
        least, last = min(least, MAX_LOG_SCALE), max(last, MIN_LOG_SCALE)
        scales = range(least, max(least, last) + 1)
        bits_AS = np.stack([code_bits(scale, exponent, offset, width) for scale in scales])
        cost_KA = np.einsum("ks,as->ka", padded_KS, bits_AS)
        scale_K = cost_KA.argmin(axis=1)
        bits_K = cost_KA[np.arange(len(cost_KA)), scale_K]
        if best is None or bits_K.sum() < best[2].sum():
            best = (scale_K + least, exponent, bits_K)
    assert best is not None
    return best


def _scale_per_mean(exponent: float) -> float:
    # E|x| = a' gamma(2/b) / gamma(1/b) for exp(-(|x|/a')^b); base 2 makes a' = a / ln(2)^(1/b).
    return math.gamma(1 / exponent) / math.gamma(2 / exponent) * float(math.log(2) ** (1 / exponent))
