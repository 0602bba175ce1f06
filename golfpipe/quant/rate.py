"""The quantizer `rate`: open-ended codes chosen for error and bits together, with error feedback."""

from __future__ import annotations

from golfpipe.quant.quantizer import Quantized, Quantizer, QuantizeWork


class Rate(Quantizer):
    """Scalar codes, the most sensitive columns first."""

    about = "rate with open-ended codes"
    is_open = True
    searches_columns = True

    def quantize(self, work: QuantizeWork) -> Quantized:
        from golfpipe.quant.open_export import quantize_open
        from golfpipe.quant.open_tensor import scalar_piece

        return quantize_open(work, scalar_piece, by_diagonal=True)


QUANTIZER = Rate()
