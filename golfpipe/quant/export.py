"""Weights to stored pieces, with a report for each."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from torch import Tensor

from golfpipe.codec.pieces import Piece
from golfpipe.quant.calibration_data import CalibrationData
from golfpipe.quant.config import QuantizeConfig, TensorClass
from golfpipe.quant.dequantize import dequantize_piece
from golfpipe.quant.policy import assign_classes, assign_schemes
from golfpipe.quant.prune import prune_smallest
from golfpipe.quant.quantizer import QuantizeWork, Solution, Target
from golfpipe.quant.report import TensorReport, report_piece
from golfpipe.quant.run import run_quantizer


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
    """For codes on a grid, which clip ratio each row took, int64 [R]."""
    num_ratios: int

    @functools.cached_property
    def reports(self) -> dict[str, TensorReport]:
        """Error and entropy of each tensor."""
        return {
            name: report_piece(
                piece,
                self.weights[name],
                dequantize_piece(piece),
                tensor_class=self.classes[name],
                ratio_index_R=self.ratio_index.get(name),
                num_ratios=self.num_ratios,
            )
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
) -> QuantizedWeights:
    """Quantize every tensor as its class and the quantizer say.

    weights: any float dtype and device; the search runs where a tensor lies. universe: see assign_classes. progress
    is called after each tensor with its number of values. Raises ConfigError for rules that do not fit, StageFailed
    (naming the tensor) for weights that are not finite or overflow fp16, or for a target out of reach.
    """
    shapes = {name: tuple(weight.shape) for name, weight in weights.items()}
    classes = assign_classes(config, shapes, universe)
    work = QuantizeWork(
        weights={name: _prune(weight, config) for name, weight in weights.items()},
        classes=classes,
        schemes=assign_schemes(config, classes),
        settings=config,
        calibration=calibration,
        target=target,
        advance=progress or (lambda count: None),
    )
    found = run_quantizer(work)
    pieces = {name: found.pieces[name] for name in weights}
    return QuantizedWeights(pieces, found.solution, weights, classes, found.ratio_index, len(config.clip_ratios))


def _prune(weight: Tensor, config: QuantizeConfig) -> Tensor:
    if config.prune_fraction and weight.ndim > 1 and weight.numel() > config.prune_min_values:
        return prune_smallest(weight, config.prune_fraction)
    return weight
