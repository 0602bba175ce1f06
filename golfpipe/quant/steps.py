"""The step quantizer: codes without bounds on a uniform grid, whose entropy coder decides what they cost.

A step is a power of 2^(1/256) per row times one per column (codec.pieces.LOG_STEPS). Export, quantization-aware
training and decoding use the same functions, so that what is trained is what is scored. Elementwise fp32 arithmetic.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from golfpipe.codec.log_steps import step_values
from golfpipe.codec.pieces import LOG_STEPS, MAX_LOG_STEP, MAX_OPEN_CODE, Piece
from golfpipe.errors import StageFailed

# Shapes: R rows, C values per row


def nearest_log_steps(steps: np.ndarray) -> np.ndarray:
    """Return the storable int16 exponents whose steps are nearest to positive `steps` in the logarithm."""
    exponents = np.rint(np.log2(np.asarray(steps, dtype=np.float64)) * LOG_STEPS)
    log_steps: np.ndarray = np.clip(exponents, -MAX_LOG_STEP, MAX_LOG_STEP).astype(np.int16)
    return log_steps


def tensor_log_step(w_RC: Tensor, step: float, *, name: str = "tensor") -> int:
    """Return the exponent of `step` root mean squares of the tensor, which is what ClassScheme.step asks for.

    A tensor of zeros gets the exponent 0. Raises StageFailed, naming `name`, for weights that are not finite.
    """
    mean_square = float(w_RC.double().square().mean())
    if not math.isfinite(mean_square):
        raise StageFailed(f"{name}: weights are NaN or infinite")
    if mean_square == 0:
        return 0
    # A step so small that codes would not fit is widened: only an outlier of a thousand deviations can do that.
    least = float(w_RC.abs().max()) / MAX_OPEN_CODE
    return int(nearest_log_steps(np.array(max(step * math.sqrt(mean_square), least))))


def quantize_steps(w_RC: Tensor, step: Tensor | float) -> Tensor:
    """Return fp32 codes round(w / step), halves to even, in the storable range. `step` broadcasts over [R, C]."""
    return torch.div(w_RC, step).round_().clamp_(-MAX_OPEN_CODE, MAX_OPEN_CODE)


def fake_quantize_steps(w_RC: Tensor, step: Tensor | float) -> Tensor:
    """Return w after a trip through its codes, fp32 [R, C]; NaN stays NaN. There is no gradient."""
    return quantize_steps(w_RC, step) * step


def step_piece(name: str, shape: tuple[int, ...], w_RC: Tensor, step: float) -> Piece:
    """Return open-ended codes of one step for the whole tensor, each the nearest: what the fake quantizer of training
    does. `step` in root mean squares. Raises StageFailed for weights that are not finite."""
    log_step = tensor_log_step(w_RC, step, name=name)
    codes_RC = quantize_steps(w_RC, float(step_values(np.array(log_step))))
    num_rows, width = w_RC.shape
    log_steps = np.concatenate([np.full(num_rows, log_step), np.zeros(width)]).astype(np.int16)
    return Piece(name=name, shape=shape, bits=0, codes=codes_RC.to(torch.int16).cpu().numpy(), scales=log_steps)
