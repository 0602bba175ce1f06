"""Weights to codes on a fixed grid: scales from the clip search, and codes as the quantizer chooses them."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from golfpipe.codec.pieces import Piece
from golfpipe.quant.clip_search import choose_scales
from golfpipe.quant.float_piece import float_piece
from golfpipe.quant.quantizer import Quantized, QuantizeWork
from golfpipe.quant.rows import as_rows
from golfpipe.quant.steps import step_piece

# Shapes: R rows, C columns

CodesOf = Callable[[str, Tensor, Tensor, int], Tensor]
"""(tensor name, fp32 weights [R, C], fp16 scales [R, 1], bits) -> int8 codes [R, C]."""


def quantize_on_grid(work: QuantizeWork, codes_of: CodesOf) -> Quantized:
    """Quantize every tensor: floats as they are, a class with a step to its nearest steps, all others on the grid.

    Raises StageFailed naming the tensor.
    """
    pieces: dict[str, Piece] = {}
    ratio_index: dict[str, Tensor] = {}
    for name, weight in work.weights.items():
        scheme, shape = work.schemes[name], tuple(weight.shape)
        if scheme.is_float:
            pieces[name] = float_piece(name, weight, scheme.bits)
        elif scheme.step:
            pieces[name] = step_piece(name, shape, as_rows(weight), scheme.step)
        else:
            w_RC = as_rows(weight)
            choice = choose_scales(w_RC, scheme.bits, work.settings.clip_ratios, name=name)
            codes = codes_of(name, w_RC, choice.scale_R1, scheme.bits).cpu().numpy()
            scales = choice.scale_R1.cpu().numpy()
            pieces[name] = Piece(name=name, shape=shape, bits=scheme.bits, codes=codes, scales=scales)
            ratio_index[name] = choice.ratio_index_R
        work.advance(weight.numel())
    return Quantized(pieces=pieces, ratio_index=ratio_index)
