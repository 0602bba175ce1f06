"""Coded bytes of Gaussian weights against the rate-distortion bound, for the scalar and the trellis quantizers.

python -m benchmarks.quantization.gaussian    # half a minute; writes quantization_gaussian.json (benchmarks/keep.py)
"""

from __future__ import annotations

import argparse
import math
from functools import partial

import torch

from benchmarks.keep import add_output_options, write_result
from golfpipe.codec.formats import ideal_bytes
from golfpipe.codec.pieces import OPEN_STATES
from golfpipe.codec.range_coder import CODER
from golfpipe.quant.dequantize import dequantize_piece
from golfpipe.quant.open_tensor import OpenTensor, scalar_piece
from golfpipe.quant.sensitivity import flat_sensitivity
from golfpipe.quant.trellis_piece import trellis_piece

SHAPE = (2048, 512)
RATES = (2.0, 3.0, 4.0)


def measure(w_RC: torch.Tensor, states: int, rate: float) -> dict[str, float | int]:
    """A point near `rate` bits: coded bits a weight (all bytes), mean squared error, bits above 1/2 log2(1 / error)."""
    tensor = OpenTensor("w", tuple(w_RC.shape), w_RC, flat_sensitivity(w_RC), True)
    piece_at = partial(trellis_piece, states=states) if states > 1 else scalar_piece
    low, high = -6.0, 4.0  # levels; the coarser, the fewer bits
    for _ in range(12):
        level = (low + high) / 2
        piece = piece_at(tensor, level, 1.0)
        coded = 8 * sum(map(len, CODER.encode(piece))) / w_RC.numel()
        low, high = (level, high) if coded > rate else (low, level)
    error = float((dequantize_piece(piece) - w_RC).double().square().mean() / w_RC.double().square().mean())
    return {
        "states": OPEN_STATES[piece.bits],
        "bits": coded,
        "relative_mse": error,
        "above_bound": coded - 0.5 * math.log2(1 / error),
        "above_ideal_share": coded * w_RC.numel() / 8 / ideal_bytes(piece) - 1,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_output_options(parser)
    options = parser.parse_args()
    torch.set_num_threads(1)
    w_RC = torch.randn(SHAPE, generator=torch.Generator().manual_seed(0))
    rows = [measure(w_RC, states, rate) for states in OPEN_STATES.values() for rate in RATES]
    print(
        "| states | coded bits | relative MSE | bits above the bound | over the ideal length |\n|---|---|---|---|---|"
    )
    for row in rows:
        print(
            f"| {row['states']} | {row['bits']:.3f} | {row['relative_mse']:.5f} | {row['above_bound']:.3f}"
            f" | {row['above_ideal_share']:.4%} |"
        )
    write_result(options.output, "quantization_gaussian", {"shape": SHAPE, "rows": rows})


if __name__ == "__main__":
    main()
