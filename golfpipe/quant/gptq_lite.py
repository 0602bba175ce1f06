"""The quantizer `gptq_lite`: codes on a grid, with the clip ratio of the least error for each row.

A fixed grid cannot meet a target, so `trellis` takes its place where there is one.
"""

from __future__ import annotations

from golfpipe.quant.quantizer import Quantized, Quantizer, QuantizeWork


class GptqLite(Quantizer):
    """Nearest codes under searched scales."""

    about = "gptq_lite with one scale per row"
    under_target = "trellis"

    def quantize(self, work: QuantizeWork) -> Quantized:
        from golfpipe.quant.grid_export import quantize_on_grid
        from golfpipe.quant.rows import quantize

        return quantize_on_grid(work, lambda name, w_RC, scale_R1, bits: quantize(w_RC, scale_R1, bits))


QUANTIZER = GptqLite()
