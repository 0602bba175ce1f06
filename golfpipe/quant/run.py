"""Run the quantizer that the settings name, on as many threads as it can use."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch

from golfpipe.quant.quantizer import Quantized, Quantizer, QuantizeWork
from golfpipe.quant.quantizers import QUANTIZERS


def run_quantizer(work: QuantizeWork) -> Quantized:
    """Quantize with the quantizer that the settings name. Raises StageFailed as Quantizer.quantize does."""
    quantizer: Quantizer = QUANTIZERS.load(work.settings.quantizer)
    with _one_thread() if quantizer.searches_columns else nullcontext():
        return quantizer.quantize(work)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Use one torch thread within the block.

    The steps of a search column by column are too short to share: two threads on two busy cores took 14 times as long,
    and a Python thread per core took longer than one.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
