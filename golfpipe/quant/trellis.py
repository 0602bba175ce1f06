"""The quantizer `trellis`: as `rate`, with trellis-coded quantization where that pays."""

from __future__ import annotations

from functools import partial

from golfpipe.quant.quantizer import Quantized, Quantizer, QuantizeWork


class Trellis(Quantizer):
    """Trellis codes, columns in their own order: a code is read in the order in which it is stored."""

    about = "trellis with open-ended codes"
    is_open = True
    searches_columns = True

    def quantize(self, work: QuantizeWork) -> Quantized:
        from golfpipe.quant.open_export import quantize_open
        from golfpipe.quant.open_tensor import scalar_piece
        from golfpipe.quant.trellis_piece import trellis_piece

        # The level that scalar codes need gives nearly the same bits, and is found in a tenth of the time.
        piece_at = partial(trellis_piece, states=work.settings.trellis_states)
        return quantize_open(work, piece_at, by_diagonal=False, start_with=scalar_piece)


QUANTIZER = Trellis()
