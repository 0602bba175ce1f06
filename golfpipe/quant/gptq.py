"""The quantizer `gptq`: the scales of `gptq_lite`, then codes column by column with error feedback through the second
moments of the inputs (GPTQ, arXiv 2210.17323)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from golfpipe.quant.quantizer import Quantized, Quantizer, QuantizeWork

if TYPE_CHECKING:
    from torch import Tensor

# Shapes: R rows, C columns


class Gptq(Quantizer):
    """Error feedback where the inputs are known, nearest codes elsewhere."""

    about = "gptq with one scale per row"
    needs_moments = True
    searches_columns = True

    def quantize(self, work: QuantizeWork) -> Quantized:
        from golfpipe.quant.grid_export import quantize_on_grid
        from golfpipe.quant.rows import quantize

        def codes_of(name: str, w_RC: Tensor, scale_R1: Tensor, bits: int) -> Tensor:
            moments_CC = work.calibration.moments.get(name) if work.calibration is not None else None
            if moments_CC is None:
                return quantize(w_RC, scale_R1, bits)
            return codes_with_feedback(w_RC, scale_R1, bits, moments_CC, work.settings.damping, name)

        return quantize_on_grid(work, codes_of)


def codes_with_feedback(
    w_RC: Tensor, scale_R1: Tensor, bits: int, moments_CC: Tensor, damping: float, name: str
) -> Tensor:
    """Return int8 codes [R, C] on the grid of `bits`; moments: E[x x^T] of the map's inputs.

    Raises StageFailed naming `name` where the moments are useless.
    """
    import torch

    from golfpipe.codec.pieces import code_bounds
    from golfpipe.quant.code_search import search_scalar_codes
    from golfpipe.quant.hessian import feedback_factor
    from golfpipe.quant.rows import row_divisor

    factor = feedback_factor(moments_CC.to(w_RC.device), damping, by_diagonal=True, name=name)
    codes_CR = search_scalar_codes(
        w_RC.T[factor.order_C].contiguous(),
        torch.ones(w_RC.shape[1], device=w_RC.device),
        row_divisor(scale_R1)[:, 0],
        factor.correction_CC,
        rate=None,
        price=0.0,
        bounds=code_bounds(bits),
    )
    codes_RC = torch.empty_like(w_RC)
    codes_RC[:, factor.order_C] = codes_CR.T
    return codes_RC.to(torch.int8)


QUANTIZER = Gptq()
