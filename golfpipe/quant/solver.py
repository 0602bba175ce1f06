"""Find the one level of error at which everything together has the wanted size.

Steps are 2^level over the root of what an error costs, so that at any level a bit buys the same loss in every tensor:
the allocation over tensors, rows and columns follows from one number, and only that number is searched.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from golfpipe.codec.pieces import LOG_STEPS, Piece
from golfpipe.errors import StageFailed
from golfpipe.quant.open_tensor import OpenTensor
from golfpipe.quant.quantizer import Solution

TOLERANCE = 0.001
"""A size within this share below the target is a hit."""

_AIM = 0.0003
_MAX_PASSES = 12
_COARSEST, _FINEST = 8.0, -7.0
"""Levels in octaves of the step around one root mean square: all codes zero, and 9 bits a weight."""
_MAX_SHIFT = 0.08
"""Octaves by which part of the tensors may leave the common level to meet the size without another full pass."""
_NEAR = 0.01
_MOST_BITS = 9.0
_GAUSSIAN = 2 * math.pi * math.e
"""A Gaussian of deviation d in steps has about 1/2 log2(1 + 2 pi e d^2) bits, nearly exactly so from d = 1 on."""

QuantizeAll = Callable[[Mapping[str, tuple[OpenTensor, float]]], dict[str, Piece]]
"""Name -> (tensor, level) to name -> piece."""


def solve_level(
    tensors: Sequence[OpenTensor],
    quantize_all: QuantizeAll,
    measure: Callable[[Mapping[str, Piece]], float],
    target: float,
    *,
    start: float | None = None,
) -> tuple[dict[str, Piece], Solution]:
    """Return pieces of all tensors whose measured size is within TOLERANCE below target, and how they were found.

    Where a few tensors are all there is, their sizes may leave a gap there, since steps are 0.27 % apart; the largest
    size below the target is then taken. measure gives the exact size with these pieces, in the unit of target (bytes);
    start is the level to try first. Raises StageFailed, naming the smallest reachable size, where even codes of zero
    are too many, and where the search does not settle.
    """
    expected = _ExpectedBytes(tensors)
    centers = sorted(tensor.level_of_step(1.0) for tensor in tensors)
    coarsest, finest = centers[-1] + _COARSEST, centers[0] + _FINEST
    level = start if start is not None else expected.level_of(target, finest, coarsest)
    below: tuple[float, float] | None = None  # (level, size) of the largest size that fits
    above: tuple[float, float] | None = None
    fitting: dict[str, Piece] | None = None
    for passes in range(1, _MAX_PASSES + 1):
        pieces: dict[str, Piece] = {}  # those of the last pass are not held through the next one
        pieces = quantize_all({tensor.name: (tensor, level) for tensor in tensors})
        size = measure(pieces)
        if target * (1 - TOLERANCE) <= size <= target:
            return pieces, Solution(level, size, passes, True)
        if size > target:
            above = (level, size)
        else:
            below = (level, size)
            if level <= finest:
                return pieces, Solution(level, size, passes, False)
            fitting = dict(pieces) if size >= target * (1 - _NEAR) else None
        if abs(size / target - 1) < _NEAR:
            shifted = _shift_some(tensors, pieces, level, quantize_all, measure, target, size)
            if shifted is not None:
                return pieces, Solution(level, shifted, passes, True)
        if below is not None and above is not None and fitting is not None and below[0] - above[0] < 1 / LOG_STEPS:
            return fitting, Solution(*below, passes, True)
        if size > target and level >= coarsest:
            raise StageFailed(
                f"a target of {target:.0f} bytes cannot be reached: with every code at zero {size:.0f} bytes remain",
                hint="raise the target, or store fewer tensors as floats",
            )
        level = _next_level(level, size, target * (1 - _AIM), expected, (finest, coarsest), below, above, passes)
    raise StageFailed(
        f"no level gives {target:.0f} bytes: {below} is too small, {above} too large after {_MAX_PASSES} passes"
    )


class _ExpectedBytes:
    """What tensors of Gaussian rows would take: near enough to start from, and to follow from a measured size."""

    def __init__(self, tensors: Sequence[OpenTensor]) -> None:
        self._deviation_N = np.concatenate([tensor.log_deviation_R() for tensor in tensors])
        self._width_N = np.concatenate([np.full(len(t.w_RC), t.w_RC.shape[1]) for t in tensors])

    def at(self, level: float) -> float:
        bits_N = 0.5 * np.log2(1 + _GAUSSIAN * np.exp2(2 * np.minimum(self._deviation_N - level, 64.0)))
        return float((np.minimum(bits_N, _MOST_BITS) * self._width_N).sum()) / 8

    def level_of(self, size: float, finest: float, coarsest: float) -> float:
        """The level within the bounds whose expected size is nearest."""
        if self.at(finest) <= size:
            return finest
        for _ in range(40):
            middle = (finest + coarsest) / 2
            finest, coarsest = (middle, coarsest) if self.at(middle) > size else (finest, middle)
        return (finest + coarsest) / 2


def _next_level(
    level: float,
    size: float,
    aim: float,
    expected: _ExpectedBytes,
    bounds: tuple[float, float],
    below: tuple[float, float] | None,
    above: tuple[float, float] | None,
    passes: int,
) -> float:
    """The level to try after this one."""
    if below is not None and above is not None and above[1] > below[1]:
        share = (above[1] - aim) / (above[1] - below[1])
        return above[0] + min(max(share, 0.02), 0.98) * (below[0] - above[0])
    # The expectation's own ratio of sizes; farther each time where it does not lead across the target.
    found = expected.level_of(aim * expected.at(level) / size, *bounds)
    level += (found - level) * (1.0 if passes < 3 else 2.0 ** (passes - 2))
    return min(max(level, bounds[0]), bounds[1])


def _shift_some(
    tensors: Sequence[OpenTensor],
    pieces: dict[str, Piece],
    level: float,
    quantize_all: QuantizeAll,
    measure: Callable[[Mapping[str, Piece]], float],
    target: float,
    size: float,
) -> float | None:
    """Requantize some tensors a little off the common level until the size fits; the size, or None if it does not.

    Changes `pieces`. The smallest tensors that together can make up the difference are taken.
    """
    by_size = sorted(tensors, key=lambda tensor: tensor.w_RC.numel())
    done: dict[str, float] = {}
    response = 1.0  # bits per weight and octave; below 1 where codes are zeros, or steps already at their finest
    for _ in range(4):
        missing = 8 * (size - target * (1 - _AIM)) / response
        chosen, weights = [], 0
        for tensor in by_size:
            chosen.append(tensor)
            weights += tensor.w_RC.numel()
            if weights * _MAX_SHIFT >= abs(missing):
                break
        for tensor in chosen:
            done[tensor.name] = done.get(tensor.name, level) + missing / weights
        pieces |= quantize_all({tensor.name: (tensor, done[tensor.name]) for tensor in chosen})
        before, size = size, measure(pieces)
        if target * (1 - TOLERANCE) <= size <= target:
            return size
        response = min(max(8 * (before - size) / missing, 0.25), 2.0)
    return None
