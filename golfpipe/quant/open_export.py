"""Weights to open-ended codes: which tensors get them, at which level of error, and what an error of each costs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from golfpipe.codec.pieces import Piece
from golfpipe.errors import StageFailed
from golfpipe.quant.calibration_data import CalibrationData
from golfpipe.quant.code_search import for_each
from golfpipe.quant.config import MIN_OPEN_VALUES, QuantizeConfig, TensorClass
from golfpipe.quant.float_piece import float_piece
from golfpipe.quant.open_tensor import OpenTensor
from golfpipe.quant.quantizer import Quantized, QuantizeWork, Solution
from golfpipe.quant.rows import as_rows
from golfpipe.quant.sensitivity import Sensitivity, flat_sensitivity, measured_sensitivity
from golfpipe.quant.solver import solve_level

# Shapes: R rows, C values per row

_STEP_OF_ONE_BIT = math.sqrt(2 * math.pi * math.e)
"""A Gaussian's entropy in steps is log2(sqrt(2 pi e) std / step) bits."""

_CLASS_TOLERANCE: dict[TensorClass, float] = {"token_table": 16.0, "small": 4096.0}
"""How much more an equal relative error costs in a class than in matrices, where no calibration tells (measured on
`tiny`)."""

_TOKEN_TABLE_WEIGHT = 4.0
"""The Fisher diagonal of the token table misses that its errors meet again at the output. Measured on `tiny` at 2.0 and
2.5 bits: an octave finer than its diagonal asks for is worth more than the same bytes spent on everything."""


PieceAt = Callable[[OpenTensor, float, float], Piece]
"""(tensor, level, quantize.rate_weight) -> its piece."""


def quantize_open(
    work: QuantizeWork, piece_at: PieceAt, *, by_diagonal: bool, start_with: PieceAt | None = None
) -> Quantized:
    """Quantize every tensor: classes stored as floats as they are, all others to open-ended codes.

    A class with a step has that step on average; other classes follow the target, or their bits where there is none.
    Under a target 16-bit classes take part as well; 32 bits keep a class as it is. by_diagonal: see feedback_factor.
    start_with: a quicker way to pieces of nearly the same size, whose level is where the search for the target begins.
    """
    settings = work.settings

    def prepared(name: str) -> Piece | OpenTensor:
        """Return the tensor's piece, or the tensor itself where the target decides."""
        scheme, weight = work.schemes[name], work.weights[name]
        in_target = settings.has_target and not scheme.step
        if scheme.is_float and (not in_target or scheme.bits == 32 or weight.numel() < MIN_OPEN_VALUES):
            return float_piece(name, weight, scheme.bits)
        tensor = _open_tensor(name, weight, work, by_diagonal=by_diagonal)
        if in_target:
            return tensor
        level = tensor.level_of_step(scheme.step or _STEP_OF_ONE_BIT * 2.0**-scheme.bits)
        return piece_at(tensor, level, settings.rate_weight)

    found = dict(zip(work.weights, for_each(prepared, work.weights), strict=True))
    pieces = {name: piece for name, piece in found.items() if isinstance(piece, Piece)}
    solved = [tensor for tensor in found.values() if isinstance(tensor, OpenTensor)]
    work.advance(sum(piece.num_values for piece in pieces.values()))
    solution = None
    if solved:
        start = _solve(work, solved, pieces, start_with, None)[1].level if start_with is not None else None
        searched, solution = _solve(work, solved, pieces, piece_at, start)
        pieces |= searched
        work.advance(sum(tensor.w_RC.numel() for tensor in solved))
    return Quantized(pieces=pieces, solution=solution)


def _solve(
    work: QuantizeWork, tensors: list[OpenTensor], fixed: Mapping[str, Piece], piece_at: PieceAt, start: float | None
) -> tuple[dict[str, Piece], Solution]:
    """Return pieces of the tensors that, together with the `fixed` ones, have the target's size."""
    target = work.target
    assert target is not None, "the settings have a target"

    def quantize_one(job: tuple[OpenTensor, float]) -> Piece:
        piece = piece_at(*job, work.settings.rate_weight)
        target.code(piece)
        return piece

    def quantize_all(jobs: Mapping[str, tuple[OpenTensor, float]]) -> dict[str, Piece]:
        # The largest first: no thread then has much left to do when the others are done.
        order = sorted(jobs, key=lambda name: jobs[name][0].w_RC.numel(), reverse=True)
        found = dict(zip(order, for_each(quantize_one, (jobs[name] for name in order)), strict=True))
        return {name: found[name] for name in jobs}

    def measure(found: Mapping[str, Piece]) -> float:
        return target.measure({name: found[name] if name in found else fixed[name] for name in work.weights})

    return solve_level(tensors, quantize_all, measure, target.size, start=start)


def _open_tensor(name: str, weight: Tensor, work: QuantizeWork, *, by_diagonal: bool) -> OpenTensor:
    w_RC = as_rows(weight)
    if not bool(torch.isfinite(w_RC).all()):
        raise StageFailed(f"{name}: weights are NaN or infinite")
    sensitivity = _sensitivity(name, w_RC, work.classes[name], work.settings, work.calibration, by_diagonal=by_diagonal)
    return OpenTensor(name, tuple(weight.shape), w_RC, sensitivity, work.settings.sensitive_steps)


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
