"""One tensor to open-ended codes: steps from its sensitivity, a rate model from its codes, then the search."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from golfpipe.codec.code_shapes import EXPONENTS, code_offset, exact_exp2
from golfpipe.codec.log_steps import step_grid, step_values
from golfpipe.codec.pieces import LOG_STEPS, MAX_LOG_STEP, MAX_OPEN_CODE, Piece
from golfpipe.codec.scale_classes import plan_classes
from golfpipe.quant.code_search import SCALAR_PRICE, CodeSearch, RateModel, Search, search_scalar_codes
from golfpipe.quant.sensitivity import Sensitivity
from golfpipe.quant.steps import nearest_log_steps

# Shapes: R rows, C columns

_SPREAD_UNIT = LOG_STEPS // 4
"""Steps of rows and columns differ by whole quarters of an octave: finer gains nothing, and costs bits to store."""
_MAX_SPREAD = 16 * _SPREAD_UNIT
_FINEST_STEP = -7.0
"""log2 of a row's smallest step over its root mean square, about 9 bits a weight: however much an error seems to cost
(a few training steps make some rows thousands of times as sensitive as others), finer has no use."""
_MOST_CODE = 30_000
"""No step is so small that a weight's code leaves the storable range; error feedback needs some room."""


@dataclass(frozen=True, slots=True, eq=False)
class OpenTensor:
    """A tensor ready to be quantized at any level of error."""

    name: str
    shape: tuple[int, ...]
    w_RC: Tensor
    """fp32."""
    sensitivity: Sensitivity
    with_spread: bool
    """True if rows and columns get steps of their own."""

    @property
    def log_size(self) -> float:
        """Return log2 of the tensor's middle step at the level 0."""
        return float(self.sensitivity.log_step_R.mean() + self.sensitivity.log_step_C.mean())

    def level_of_step(self, step: float) -> float:
        """Return the level whose middle step is `step` root mean squares of the tensor."""
        mean_square = float(self.w_RC.double().square().mean())
        return math.log2(step * math.sqrt(mean_square)) - self.log_size if mean_square else 0.0

    def log_deviation_R(self) -> np.ndarray:
        """Return log2 of each row's root mean square in steps at the level 0, fp64 [R]; -inf for a row of zeros."""
        log_step_R, log_step_C = self.sensitivity.log_step_R, self.sensitivity.log_step_C
        if not self.with_spread:
            log_step_R, log_step_C = (
                np.full_like(log_step_R, log_step_R.mean()),
                np.full_like(log_step_C, log_step_C.mean()),
            )
        per_step_C = torch.from_numpy(np.exp2(-log_step_C)).to(self.w_RC)
        norm_R = torch.linalg.vector_norm(self.w_RC * per_step_C, dim=1, dtype=torch.float64).cpu().numpy()
        with np.errstate(divide="ignore"):
            deviation_R: np.ndarray = np.log2(norm_R / self.w_RC.shape[1] ** 0.5) - log_step_R
        return deviation_R

    def log_steps(self, level: float) -> np.ndarray:
        """Return the log steps of a scalar piece, int16 [R + C]. Its steps are 2^level * (row * column)^(-1/2), rounded
        to quarter octaves."""
        middle = int(nearest_log_steps(np.exp2(np.array(level + self.log_size))))
        row_R, column_C = np.zeros(len(self.w_RC)), np.zeros(self.w_RC.shape[1])
        if self.with_spread:
            row_R, column_C = self.sensitivity.log_step_R, self.sensitivity.log_step_C
        parts = []
        for log_spread in (row_R, column_C):
            spread = np.rint((log_spread - log_spread.mean()) * LOG_STEPS / _SPREAD_UNIT) * _SPREAD_UNIT
            parts.append(np.clip(spread, -_MAX_SPREAD, _MAX_SPREAD))
        absmax_R = self.w_RC.abs().amax(dim=1).double().cpu().numpy()
        rms_R = (
            torch.linalg.vector_norm(self.w_RC, dim=1, dtype=torch.float64).cpu().numpy() / self.w_RC.shape[1] ** 0.5
        )
        finest_R = np.maximum(rms_R * 2.0**_FINEST_STEP, absmax_R / _MOST_CODE * 2.0 ** (-parts[1].min() / LOG_STEPS))
        needed_R = np.log2(np.maximum(finest_R, 1e-30)) * LOG_STEPS
        parts[0] = middle + np.maximum(parts[0], np.ceil((needed_R - middle) / _SPREAD_UNIT) * _SPREAD_UNIT)
        log_steps: np.ndarray = np.clip(np.concatenate(parts), -MAX_LOG_STEP, MAX_LOG_STEP).astype(np.int16)
        return log_steps


def scalar_piece(tensor: OpenTensor, level: float, rate_weight: float) -> Piece:
    """Return scalar codes at the level: every weight's error costs about 2^(2 level) / 24 nats per token."""
    return searched_piece(tensor, 1, tensor.log_steps(level), SCALAR_PRICE * rate_weight, search_scalar_codes)


def searched_piece(tensor: OpenTensor, states: int, log_steps: np.ndarray, price: float, search: Search) -> Piece:
    """Return the piece of the codes that `search` finds with steps int16 [R + C]. states, price: see CodeSearch."""
    bits = -states if states > 1 else 0
    steps = torch.from_numpy(step_values(log_steps)).to(tensor.w_RC.device)
    given = CodeSearch(
        w_RC=tensor.w_RC,
        step_R=steps[: len(tensor.w_RC)],
        step_C=steps[len(tensor.w_RC) :],
        factor=tensor.sensitivity.factor,
        rate=_rate_model(tensor.w_RC, bits, log_steps) if price > 0 else None,
        price=price,
        states=states,
    )
    return Piece(name=tensor.name, shape=tensor.shape, bits=bits, codes=search(given).cpu().numpy(), scales=log_steps)


def _rate_model(w_RC: Tensor, bits: int, log_steps: np.ndarray) -> RateModel:
    """Return the entropy model that the packer will fit, estimated from the nearest codes. Its scales are in steps."""
    width, offset = (2.0 if bits else 1.0), code_offset(bits)
    near_RC = (w_RC.cpu() / torch.from_numpy(step_grid(log_steps, len(w_RC))) / width - offset).round_()
    near_RC.clamp_(-MAX_OPEN_CODE, MAX_OPEN_CODE)
    classes = plan_classes(near_RC.to(torch.int16).numpy(), offset)
    counts = np.bincount(classes.class_RC.reshape(-1), minlength=len(classes.log_scale_K))
    number = np.arange(len(counts))
    base = float(np.average(classes.log_scale_K - classes.unit * number, weights=counts)) / 8 + math.log2(width)
    inverse_scale_K = exact_exp2(-(base + number * (classes.unit / 8))).astype(np.float32)
    return RateModel(
        torch.from_numpy(classes.row_R.astype(np.uint8)).to(w_RC.device),
        torch.from_numpy(classes.column_C.astype(np.uint8)).to(w_RC.device),
        torch.from_numpy(inverse_scale_K).to(w_RC.device),
        EXPONENTS[classes.exponent],
    )
