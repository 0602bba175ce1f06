"""Which tensors get open-ended codes, at which level of error, and what an error of each costs."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from golfpipe.codec.pieces import Piece
from golfpipe.errors import StageFailed
from golfpipe.quant.config import ClassScheme, QuantizeConfig, TensorClass
from golfpipe.quant.open_tensor import OpenTensor
from golfpipe.quant.rows import as_rows
from golfpipe.quant.sensitivity import CalibrationData, Sensitivity, flat_sensitivity, measured_sensitivity
from golfpipe.quant.steps import quantize_steps, step_values, tensor_log_step

# Shapes: R rows, C values per row

MIN_OPEN_VALUES = 256
"""A float tensor with fewer values keeps its floats under a target: a header and steps would cost more."""

_STEP_OF_ONE_BIT = math.sqrt(2 * math.pi * math.e)
"""A Gaussian's entropy in steps is log2(sqrt(2 pi e) std / step) bits."""

_CLASS_TOLERANCE: dict[TensorClass, float] = {"token_table": 16.0, "small": 4096.0}
"""Without calibration: how much more an equal relative error costs there than in matrices (measured on `tiny`)."""

_TOKEN_TABLE_WEIGHT = 4.0
"""The Fisher diagonal of the token table misses that its errors meet again at the output. Measured on `tiny` at 2.0 and
2.5 bits: an octave finer than its diagonal asks for is worth more than the same bytes spent on everything."""


def open_tensors(
    weights: Mapping[str, Tensor],
    config: QuantizeConfig,
    classes: Mapping[str, TensorClass],
    schemes: Mapping[str, ClassScheme],
    calibration: CalibrationData | None,
) -> dict[str, tuple[OpenTensor, float | None]]:
    """Name -> (tensor, level) of all that the methods rate and trellis quantize; level None: the target decides.

    A class with a step has that step on average; other classes follow the target, or their bits where there is none.
    Under a target 16-bit classes take part as well; 32 bits keep a class as it is.
    """
    if not config.is_open:
        return {}
    bits = -config.trellis_states if config.open_method == "trellis" else 0
    opened: dict[str, tuple[OpenTensor, float | None]] = {}
    for name, weight in weights.items():
        scheme = schemes[name]
        in_target = config.has_target and not scheme.step
        if scheme.is_float and (not in_target or scheme.bits == 32 or weight.numel() < MIN_OPEN_VALUES):
            continue
        w_RC = as_rows(weight)
        _require_finite_weights(w_RC, name)
        sensitivity = _sensitivity(name, w_RC, classes[name], config, calibration, by_diagonal=bits == 0)
        tensor = OpenTensor(name, tuple(weight.shape), w_RC, bits, sensitivity, config.sensitive_steps)
        level = None if in_target else tensor.level_of_step(scheme.step or _STEP_OF_ONE_BIT * 2.0**-scheme.bits)
        opened[name] = (tensor, level)
    return opened


def plain_step_piece(name: str, shape: tuple[int, ...], w_RC: Tensor, step: float) -> Piece:
    """Open-ended codes of a class with a step under the methods without sensitivity: one step, nearest codes.

    Exactly what the fake quantizer of training does. Raises StageFailed for weights that are not finite.
    """
    log_step = tensor_log_step(w_RC, step, name=name)
    codes_RC = quantize_steps(w_RC, float(step_values(np.array(log_step))))
    num_rows, width = w_RC.shape
    log_steps = np.concatenate([np.full(num_rows, log_step), np.zeros(width)]).astype(np.int16)
    return Piece(name=name, shape=shape, bits=0, codes=codes_RC.to(torch.int16).cpu().numpy(), scales=log_steps)


def _sensitivity(
    name: str,
    w_RC: Tensor,
    tensor_class: TensorClass,
    config: QuantizeConfig,
    calibration: CalibrationData | None,
    *,
    by_diagonal: bool,
) -> Sensitivity:
    if calibration is not None:
        found = measured_sensitivity(name, calibration, config.damping, by_diagonal=by_diagonal)
        weight = _TOKEN_TABLE_WEIGHT if tensor_class == "token_table" else 1.0
        return Sensitivity(found.row_R * weight, found.column_C, found.factor)
    flat = flat_sensitivity(w_RC)
    return Sensitivity(flat.row_R * _CLASS_TOLERANCE.get(tensor_class, 1.0), flat.column_C, None)


def _require_finite_weights(w_RC: Tensor, name: str) -> None:
    if not bool(torch.isfinite(w_RC).all()):
        raise StageFailed(f"{name}: weights are NaN or infinite")
