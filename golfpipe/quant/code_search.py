"""Choose codes column by column with error feedback and a price on bits (after CERWU, arXiv 2505.18758).

Each code minimizes (x - point)^2 + price * bits(point), x being the weight in steps after the corrections of all
earlier columns. Steps are inversely proportional to the root of what an error costs, so one price fits all.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from golfpipe.codec.pieces import MAX_OPEN_CODE

# Shapes: R rows, C columns in quantization order, B columns of a block

SCALAR_PRICE = 0.1155
"""2 ln 2 / 12: what a bit is worth in squared steps where a scalar quantizer's error is 1/12 and 6.02 dB a bit hold."""

_BLOCK = 64


@dataclass(frozen=True, slots=True, eq=False)
class RateModel:
    """Bits of a point y in steps: (|y| / scale)^exponent, up to a constant. The log density of code_shapes."""

    row_R: Tensor
    """fp32 log2 scale of rows."""
    column_C: Tensor
    """fp32 log2 scale of columns; a code's scale is 2^(row + column)."""
    exponent: float

    def inverse_scale(self, column: int) -> Tensor:
        return torch.exp2(-(self.row_R + self.column_C[column]))

    def bits(self, point: Tensor, inverse_scale_R: Tensor) -> Tensor:
        ratio = point.abs() * inverse_scale_R
        return ratio.square() if self.exponent == 2 else ratio.pow(self.exponent)


def search_scalar_codes(
    w_CR: Tensor,
    step_C: Tensor,
    step_R: Tensor,
    correction_CC: Tensor | None,
    rate: RateModel | None,
    price: float,
    bounds: tuple[int, int] = (-MAX_OPEN_CODE, MAX_OPEN_CODE),
) -> Tensor:
    """fp32 codes [C, R] of the weights [C, R], both in quantization order.

    step_C * step_R is the step of a weight; correction: see FeedbackFactor, None without feedback; rate None or
    price 0 rounds to the nearest code. bounds: smallest and largest code.
    """
    w_CR = w_CR.clone()
    codes_CR = torch.empty_like(w_CR)
    num_columns = len(w_CR)
    priced = rate is not None and price > 0
    for start in range(0, num_columns, _BLOCK):
        end = min(start + _BLOCK, num_columns)
        error_BR = torch.empty_like(w_CR[start:end])
        for column in range(start, end):
            step = step_R * step_C[column]
            x_R = w_CR[column] / step
            code_R = x_R.round()
            if priced:
                assert rate is not None
                code_R = _cheaper(x_R, code_R, rate, rate.inverse_scale(column), price)
            code_R.clamp_(*bounds)
            codes_CR[column] = code_R
            error_BR[column - start] = w_CR[column] - code_R * step
            if correction_CC is not None:
                w_CR[column + 1 : end].addr_(
                    correction_CC[column, column + 1 : end], error_BR[column - start], alpha=-1
                )
        if correction_CC is not None and end < num_columns:
            w_CR[end:].addmm_(correction_CC[start:end, end:].T, error_BR, alpha=-1)
    return codes_CR


def _cheaper(x_R: Tensor, code_R: Tensor, rate: RateModel, inverse_scale_R: Tensor, price: float) -> Tensor:
    """The code, or its neighbor toward zero where that costs less altogether."""
    lower_R = code_R - code_R.sign()
    saved_R = rate.bits(code_R, inverse_scale_R) - rate.bits(lower_R, inverse_scale_R)
    worse_R = (x_R - lower_R).square() - (x_R - code_R).square()
    return torch.where(worse_R < price * saved_R, lower_R, code_R)
