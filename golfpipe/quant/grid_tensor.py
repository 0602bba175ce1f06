"""One tensor to the codes of a fixed grid: scales from the clip search, and error feedback where inputs are known."""

from __future__ import annotations

import torch
from torch import Tensor

from golfpipe.codec.pieces import Piece, code_bounds
from golfpipe.quant.clip_search import choose_scales
from golfpipe.quant.code_search import search_scalar_codes
from golfpipe.quant.config import QuantizeConfig
from golfpipe.quant.hessian import feedback_factor
from golfpipe.quant.rows import quantize, row_divisor

# Shapes: R rows, C columns


def grid_piece(
    name: str,
    shape: tuple[int, ...],
    w_RC: Tensor,
    bits: int,
    config: QuantizeConfig,
    moments_CC: Tensor | None = None,
) -> tuple[Piece, Tensor]:
    """(piece of int `bits`, int64 [R] which clip ratio each row took).

    moments: E[x x^T] of the map's inputs (GPTQ); None rounds to the nearest code. Raises StageFailed naming `name`.
    """
    choice = choose_scales(w_RC, bits, config.clip_ratios, name=name)
    if moments_CC is None:
        codes_RC = quantize(w_RC, choice.scale_R1, bits)
    else:
        factor = feedback_factor(moments_CC.to(w_RC.device), config.damping, by_diagonal=True, name=name)
        codes_CR = search_scalar_codes(
            w_RC.T[factor.order_C].contiguous(),
            torch.ones(w_RC.shape[1], device=w_RC.device),
            row_divisor(choice.scale_R1)[:, 0],
            factor.correction_CC,
            rate=None,
            price=0.0,
            bounds=code_bounds(bits),
        )
        codes_RC = torch.empty_like(w_RC)
        codes_RC[:, factor.order_C] = codes_CR.T
        codes_RC = codes_RC.to(torch.int8)
    piece = Piece(name=name, shape=shape, bits=bits, codes=codes_RC.cpu().numpy(), scales=choice.scale_R1.cpu().numpy())
    return piece, choice.ratio_index_R
