"""The quantizers: a line each."""

from __future__ import annotations

from golfpipe.choices import Table

QUANTIZERS = Table(
    "quantizer",
    "QUANTIZER",
    {
        "gptq_lite": "golfpipe.quant.gptq_lite",
        "gptq": "golfpipe.quant.gptq",
        "rate": "golfpipe.quant.rate",
        "trellis": "golfpipe.quant.trellis",
    },
)
"""quantize.method -> the module whose QUANTIZER is that Quantizer."""
