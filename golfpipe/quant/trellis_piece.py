"""One tensor to trellis codes, or to scalar ones where a trellis gains too little."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from golfpipe.codec.log_steps import step_grid
from golfpipe.codec.pieces import LOG_STEPS, Piece
from golfpipe.quant.open_tensor import OpenTensor, scalar_piece, searched_piece
from golfpipe.quant.trellis_search import TRELLIS_PRICE, search_trellis_codes

# Shapes: R rows, C columns

# Measured on Gaussian weights, 8 states: log2 of their deviation in scalar steps, and how much less than a scalar
# quantizer's the error plus price * bits of a trellis is, in squared scalar steps. It has no point at zero: weights far
# below the step get a point half a step away that the scalar quantizer spares them.
_GAIN_AT = (-6.0, -4.3, -3.3, -2.74, -2.32, -2.0, -1.74, -1.32, -1.0, -0.5, 0.0)
_GAIN = (-0.0626, -0.0626, -0.0653, -0.0607, -0.0537, -0.0443, -0.0318, 0.0065, 0.0262, 0.0227, 0.0180)
_LEAST_GAIN = 0.01
"""The least gain, in squared scalar steps, for which a trellis is used. One that gains less moves many weights that a
scalar quantizer leaves at zero, and costs more of the loss than the measure says (docs/quantization.md)."""


def trellis_piece(tensor: OpenTensor, level: float, rate_weight: float, *, states: int) -> Piece:
    """Return codes at the level of the trellis with 4 or 8 states; every weight's error costs no more than with scalar
    codes. The tensor's columns must not be reordered."""
    log_steps = tensor.log_steps(level)
    if trellis_gain(tensor.w_RC, log_steps) < _LEAST_GAIN:
        return scalar_piece(tensor, level, rate_weight)
    log_steps[: len(tensor.w_RC)] -= LOG_STEPS  # a code is two steps wide: at equal rate its step is half as large
    return searched_piece(tensor, states, log_steps, TRELLIS_PRICE[states] * rate_weight, search_trellis_codes)


def trellis_gain(w_RC: Tensor, log_steps: np.ndarray) -> float:
    """Return what a trellis saves on the average weight against scalar codes of these steps, or costs (below 0)."""
    power_RC = (w_RC.cpu() / torch.from_numpy(step_grid(log_steps, len(w_RC)))).square_().double().numpy()
    mean = max(float(power_RC.mean()), 1e-30)
    row_R, column_C = power_RC.mean(axis=1) + 1e-9 * mean, power_RC.mean(axis=0) + 1e-9 * mean
    log_deviation = 0.5 * (np.log2(row_R)[:, None] + np.log2(column_C) - math.log2(mean))
    return float(np.interp(log_deviation, _GAIN_AT, _GAIN).mean())
