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
    from golfpipe.quant.code_search import CodeSearch, search_scalar_codes
    from golfpipe.quant.hessian import feedback_factor
    from golfpipe.quant.rows import row_divisor

    given = CodeSearch(
        w_RC=w_RC,
        step_R=row_divisor(scale_R1)[:, 0].clamp(max=1e30),  # 0 times infinity would be no error
        step_C=torch.ones(w_RC.shape[1], device=w_RC.device),
        factor=feedback_factor(moments_CC.to(w_RC.device), damping, by_diagonal=True, name=name),
        rate=None,
        bounds=code_bounds(bits),
    )
    return search_scalar_codes(given).to(torch.int8)


QUANTIZER = Gptq()
