"""Weights -> stored pieces with a report for each, and pieces -> weights."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from golfpipe.codec.pieces import FLOAT_DTYPES, OPEN_STATES, Piece
from golfpipe.errors import StageFailed
from golfpipe.quant.config import QuantizeConfig, TensorClass
from golfpipe.quant.grid_tensor import grid_piece
from golfpipe.quant.open_export import open_tensors, plain_step_piece
from golfpipe.quant.open_tensor import OpenTensor, open_points, quantize_open_tensor
from golfpipe.quant.policy import assign_classes, assign_schemes
from golfpipe.quant.prune import prune_smallest
from golfpipe.quant.report import (
    TensorReport,
    relative_squared_error,
    report_codes,
    report_floats,
    report_open_codes,
)
from golfpipe.quant.rows import as_rows, dequantize
from golfpipe.quant.sensitivity import CalibrationData
from golfpipe.quant.solver import Measure, Solution, solve_level


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """A size to solve for."""

    size: float
    measure: Measure
    """Complete set of pieces (those of fixed tensors included) -> size, in the unit of `size`."""


@dataclass(frozen=True, eq=False)
class QuantizedWeights:
    """Everything that quantizing gives, keyed by name in the order of the weights."""

    pieces: dict[str, Piece]
    solution: Solution | None
    """How the target was met; None without one."""
    weights: Mapping[str, Tensor]
    """What was quantized."""
    classes: Mapping[str, TensorClass]
    ratio_index: Mapping[str, Tensor]
    """Of codes on a grid: int64 [R], which clip ratio each row took."""
    num_ratios: int

    @functools.cached_property
    def reports(self) -> dict[str, TensorReport]:
        """Error and entropy of each tensor."""
        return {
            name: _report(self.weights[name], piece, self.classes[name], self.ratio_index.get(name), self.num_ratios)
            for name, piece in self.pieces.items()
        }


def quantize_weights(
    weights: Mapping[str, Tensor],
    config: QuantizeConfig,
    *,
    universe: Iterable[str],
    progress: Callable[[int], None] | None = None,
    calibration: CalibrationData | None = None,
    target: Target | None = None,
    workers: int = 1,
) -> QuantizedWeights:
    """Quantize every tensor as its class and the method say.

    weights: any float dtype and device; the search runs where a tensor lies. universe: see assign_classes. progress
    is called after each tensor with the number of values done so far; workers: tensors under a target that are searched
    at the same time, each in a thread of its own (the result does not depend on it). Raises ConfigError for rules that do not
    fit, StageFailed (naming the tensor) for weights that are not finite or overflow fp16, or for a target out of reach.
    """
    shapes = {name: tuple(weight.shape) for name, weight in weights.items()}
    classes = assign_classes(config, shapes, universe)
    schemes = assign_schemes(config, classes)
    kept = {name: _prune(weight, config) for name, weight in weights.items()}
    opened = open_tensors(kept, config, classes, schemes, calibration)
    solved = [tensor for tensor, level in opened.values() if level is None]
    pieces: dict[str, Piece] = {}
    ratio_index: dict[str, Tensor] = {}
    done = 0

    def quantize_at(tensor: OpenTensor, level: float) -> Piece:
        return quantize_open_tensor(tensor, level, config.rate_weight)

    def quantize_all(jobs: Mapping[str, tuple[OpenTensor, float]]) -> dict[str, Piece]:
        # A thread of the pool begins with torch's full number of threads, which the short steps of a search cannot use.
        with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            return dict(zip(jobs, pool.map(lambda job: quantize_at(*job), jobs.values()), strict=True))

    for name, weight in weights.items():
        if name in opened:
            tensor, level = opened[name]
            if level is None:
                continue
            pieces[name] = quantize_at(tensor, level)
        elif config.is_open or schemes[name].is_float:  # open codes take all that is no float
            pieces[name] = _float_piece(name, kept[name], schemes[name].bits)
        elif schemes[name].step:
            pieces[name] = plain_step_piece(name, shapes[name], as_rows(kept[name]), schemes[name].step)
        else:
            moments = calibration.moments.get(name) if config.method == "gptq" and calibration is not None else None
            pieces[name], ratio_index[name] = grid_piece(
                name, shapes[name], as_rows(kept[name]), schemes[name].bits, config, moments
            )
        done += weight.numel()
        if progress is not None:
            progress(done)
    solution = None
    if config.has_target and solved:
        assert target is not None, "levels are left open only where the configuration has a target"
        fixed, measure = dict(pieces), target.measure
        solution = solve_level(
            solved, quantize_all, lambda found: measure(_ordered(weights, {**fixed, **found})), target.size
        )
        pieces |= solution.pieces
        if progress is not None:
            progress(sum(weight.numel() for weight in weights.values()))
    return QuantizedWeights(_ordered(weights, pieces), solution, weights, classes, ratio_index, len(config.clip_ratios))


def dequantize_piece(piece: Piece) -> Tensor:
    """fp32 tensor of the piece's shape on the CPU."""
    if piece.floats is not None:
        return _tensor_of(piece.floats).float()
    if piece.bits in OPEN_STATES:
        return open_points(piece).reshape(piece.shape)
    assert piece.codes is not None and piece.scales is not None
    return dequantize(_tensor_of(piece.codes), _tensor_of(piece.scales)).reshape(piece.shape)


def dequantize_weights(pieces: Mapping[str, Piece]) -> dict[str, Tensor]:
    """Name -> fp32 weight on the CPU, bit for bit the same on every machine."""
    return {name: dequantize_piece(piece) for name, piece in pieces.items()}


def _ordered(weights: Mapping[str, Tensor], pieces: Mapping[str, Piece]) -> dict[str, Piece]:
    return {name: pieces[name] for name in weights}


def _prune(weight: Tensor, config: QuantizeConfig) -> Tensor:
    if config.prune_fraction and weight.ndim > 1 and weight.numel() > config.prune_min_values:
        return prune_smallest(weight, config.prune_fraction)
    return weight


def _float_piece(name: str, kept: Tensor, bits: int) -> Piece:
    values = kept.detach().cpu().float().numpy()
    if not np.isfinite(values).all():
        raise StageFailed(f"{name}: weights are NaN or infinite")
    largest = float(np.abs(values).max())
    if bits == 16 and largest >= 65520:  # the first number that rounds to infinity in fp16
        raise StageFailed(f"{name}: weight {largest:g} exceeds fp16, whose largest number is 65504")
    return Piece(name=name, shape=tuple(kept.shape), bits=bits, floats=values.astype(FLOAT_DTYPES[bits]))


def _report(
    weight: Tensor, piece: Piece, tensor_class: TensorClass, ratio_index_R: Tensor | None, num_ratios: int
) -> TensorReport:
    error = relative_squared_error(weight, dequantize_piece(piece))
    if piece.floats is not None:
        return report_floats(piece, tensor_class=tensor_class, error=error)
    if ratio_index_R is None:
        return report_open_codes(piece, tensor_class=tensor_class, error=error)
    return report_codes(
        piece, tensor_class=tensor_class, error=error, ratio_index_R=ratio_index_R, num_ratios=num_ratios
    )


def _tensor_of(array: np.ndarray) -> Tensor:
    # Arrays from a file may be read-only, which torch.from_numpy warns about.
    return torch.from_numpy(np.require(array, requirements=["C", "W"]))
