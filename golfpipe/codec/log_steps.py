"""Steps of open-ended codes: stored exponents to fp32 numbers, the same bits on every machine."""

from __future__ import annotations

import numpy as np

from golfpipe.codec.pieces import LOG_STEPS

# Shapes: R rows, C values per row

_MANTISSAS = np.array([2.0 ** (i / LOG_STEPS) for i in range(LOG_STEPS)]).astype(np.float32)


def step_values(log_steps: np.ndarray) -> np.ndarray:
    """Return the fp32 steps 2^(exponent / LOG_STEPS) of stored exponents: integers of any shape."""
    octave, part = np.divmod(log_steps.astype(np.int32), LOG_STEPS)
    steps: np.ndarray = np.ldexp(_MANTISSAS[part], octave)
    return steps


def step_grid(log_steps: np.ndarray, num_rows: int) -> np.ndarray:
    """Return the fp32 steps [R, C] of a piece's int16 exponents [R + C]: row step times column step."""
    steps = step_values(log_steps)
    grid: np.ndarray = steps[:num_rows, None] * steps[None, num_rows:]
    return grid
