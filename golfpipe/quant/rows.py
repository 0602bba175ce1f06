"""The row quantizer: one fp16 scale per row, integer codes, no zero point (docs/quantization.md).

Export, quantization-aware training and decoding all use these functions, so that what is trained is what is scored.
Everything is elementwise fp32 arithmetic that IEEE rounds the same way on every device.
"""

from __future__ import annotations

import torch
from torch import Tensor

from golfpipe.codec.pieces import code_bounds, row_layout

# Shapes: R rows, C values per row


def as_rows(weight: Tensor) -> Tensor:
    """Return a tensor's values as fp32 [R, C], detached; a view where it already is fp32 and contiguous.

    A matrix keeps its rows; a vector or a scalar is one row.
    """
    return weight.detach().float().reshape(row_layout(tuple(weight.shape)))


def row_absmax(w_RC: Tensor) -> Tensor:
    """Return the largest magnitude of each row [R, 1]; NaN for a row that holds one."""
    return torch.maximum(w_RC.amax(1, keepdim=True), -w_RC.amin(1, keepdim=True))  # aminmax takes 8 times as long


def row_scale(absmax_R1: Tensor, ratio: Tensor | float, bits: int) -> Tensor:
    """Return the scales fp16(absmax * ratio / q_max) [R, 1]: infinite where fp16 is too small, 0 for a row of zeros."""
    return (absmax_R1 * ratio / code_bounds(bits)[1]).to(torch.float16)


def row_divisor(scale_R1: Tensor) -> Tensor:
    """Return the fp32 numbers to divide rows by: the scale, or infinity for a scale of 0, which makes every code 0."""
    scale_R1 = scale_R1.float()
    return scale_R1.masked_fill(scale_R1 == 0, torch.inf)


def quantize(w_RC: Tensor, scale_R1: Tensor, bits: int) -> Tensor:
    """Return int8 codes clamp(round(w / scale), q_min, q_max), halves to even. w fp32 [R, C], scale fp16 [R, 1]."""
    q_min, q_max = code_bounds(bits)
    return torch.div(w_RC, row_divisor(scale_R1)).round_().clamp_(q_min, q_max).to(torch.int8)


def dequantize(codes_RC: Tensor, scale_R1: Tensor) -> Tensor:
    """Return codes * scale in fp32, which is exact: 8 bits times fp16's 11 significant bits fit in fp32's 24."""
    return codes_RC.float() * scale_R1.float()


def fake_quantize(w_RC: Tensor, scale_R1: Tensor, bits: int) -> Tensor:
    """Return w after a trip through its codes, literally dequantize(quantize(w)), fp32 [R, C]. There is no gradient."""
    return dequantize(quantize(w_RC, scale_R1, bits), scale_R1)
