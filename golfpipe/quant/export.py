"""Weights -> stored pieces with a report for each, and pieces -> weights."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import numpy as np
import torch
from torch import Tensor

from golfpipe.codec.pieces import FLOAT_DTYPES, Piece
from golfpipe.errors import StageFailed
from golfpipe.quant.clip_search import choose_scales
from golfpipe.quant.config import QuantizeConfig, TensorClass
from golfpipe.quant.policy import assign_classes, assign_schemes
from golfpipe.quant.prune import prune_smallest
from golfpipe.quant.report import TensorReport, relative_squared_error, report_codes, report_floats
from golfpipe.quant.rows import as_rows, dequantize, quantize


def quantize_weights(
    weights: Mapping[str, Tensor],
    config: QuantizeConfig,
    *,
    universe: Iterable[str],
    progress: Callable[[int], None] | None = None,
) -> tuple[dict[str, Piece], dict[str, TensorReport]]:
    """Quantize every tensor as its class says. Both results are keyed by name in the order of `weights`.

    weights: any float dtype and device; the search runs where a tensor lies. universe: see assign_classes. progress
    is called after each tensor with the number of values done so far. Raises ConfigError for rules that do not
    fit, StageFailed (naming the tensor) for weights that are not finite or overflow fp16.
    """
    shapes = {name: tuple(weight.shape) for name, weight in weights.items()}
    classes = assign_classes(config, shapes, universe)
    schemes = assign_schemes(config, classes)
    pieces: dict[str, Piece] = {}
    reports: dict[str, TensorReport] = {}
    done = 0
    for name, weight in weights.items():
        kept = weight
        if config.prune_fraction and weight.ndim > 1 and weight.numel() > config.prune_min_values:
            kept = prune_smallest(weight, config.prune_fraction)
        scheme = schemes[name]
        if scheme.is_float:
            pieces[name], reports[name] = _store_floats(name, weight, kept, classes[name], scheme.bits)
        else:
            pieces[name], reports[name] = _store_codes(name, weight, kept, classes[name], scheme.bits, config)
        done += weight.numel()
        if progress is not None:
            progress(done)
    return pieces, reports


def dequantize_piece(piece: Piece) -> Tensor:
    """fp32 tensor of the piece's shape on the CPU."""
    if piece.floats is not None:
        return _tensor_of(piece.floats).float()
    assert piece.codes is not None and piece.scales is not None
    return dequantize(_tensor_of(piece.codes), _tensor_of(piece.scales)).reshape(piece.shape)


def dequantize_weights(pieces: Mapping[str, Piece]) -> dict[str, Tensor]:
    """Name -> fp32 weight on the CPU, bit for bit the same on every machine."""
    return {name: dequantize_piece(piece) for name, piece in pieces.items()}


def _store_codes(
    name: str, weight: Tensor, kept: Tensor, tensor_class: TensorClass, bits: int, config: QuantizeConfig
) -> tuple[Piece, TensorReport]:
    w_RC = as_rows(kept)
    choice = choose_scales(w_RC, bits, config.clip_ratios, name=name)
    piece = Piece(
        name=name,
        shape=tuple(weight.shape),
        bits=bits,
        codes=quantize(w_RC, choice.scale_R1, bits).cpu().numpy(),
        scales=choice.scale_R1.cpu().numpy(),
    )
    report = report_codes(
        piece,
        tensor_class=tensor_class,
        error=relative_squared_error(weight, dequantize_piece(piece)),
        ratio_index_R=choice.ratio_index_R,
        num_ratios=len(config.clip_ratios),
    )
    return piece, report


def _store_floats(
    name: str, weight: Tensor, kept: Tensor, tensor_class: TensorClass, bits: int
) -> tuple[Piece, TensorReport]:
    values = kept.detach().cpu().float().numpy()
    if not np.isfinite(values).all():
        raise StageFailed(f"{name}: weights are NaN or infinite")
    largest = float(np.abs(values).max())
    if bits == 16 and largest >= 65520:  # the first number that rounds to infinity in fp16
        raise StageFailed(f"{name}: weight {largest:g} exceeds fp16, whose largest number is 65504")
    floats = values.astype(FLOAT_DTYPES[bits])
    piece = Piece(name=name, shape=tuple(weight.shape), bits=bits, floats=floats)
    error = relative_squared_error(weight, dequantize_piece(piece))
    return piece, report_floats(piece, tensor_class=tensor_class, error=error)


def _tensor_of(array: np.ndarray) -> Tensor:
    # Arrays from a file may be read-only, which torch.from_numpy warns about.
    return torch.from_numpy(np.require(array, requirements=["C", "W"]))
