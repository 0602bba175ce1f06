"""Choose codes column by column with error feedback and a price on bits (after CERWU, arXiv 2505.18758).

Each code minimizes (x - point)^2 + price * bits(point), x being the weight in steps after the corrections of all
earlier columns. Steps are inversely proportional to the root of what an error costs, so one price fits all.

Every product, sum, quotient and root is rounded by itself and in one order, so that the codes are the same on every
processor; the machine's own form of the search (golfpipe/machine/code_search.cpp) gives them, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor

from golfpipe.codec.pieces import MAX_OPEN_CODE
from golfpipe.quant.hessian import FeedbackFactor

# Shapes: R rows, C columns, K classes of scale

Item = TypeVar("Item")
Answer = TypeVar("Answer")

SCALAR_PRICE = 0.1155
"""2 ln 2 / 12: what a bit is worth in squared steps where a scalar quantizer's error is 1/12 and 6.02 dB a bit hold."""

_ROWS_AT_ONCE = 256
"""Rows do not depend on each other; so many of them and their corrections stay in a CPU's cache."""


@dataclass(frozen=True, slots=True, eq=False)
class RateModel:
    """Bits of a point y in steps: (|y| / scale)^exponent, up to a constant. The log density of code_shapes."""

    row_R: Tensor
    """uint8 class of each row."""
    column_C: Tensor
    """uint8 class of each column; the class of a weight is the sum of both."""
    inverse_scale_K: Tensor
    """fp32: one over the scale of each class."""
    exponent: float
    """A multiple of 1/4, below 2 or 2."""

    def inverse_scale_R(self, column: int) -> Tensor:
        """Return one over the scales of a column's weights."""
        return self.inverse_scale_K[self.row_R.long() + self.column_C[column]]

    def bits(self, point: Tensor, inverse_scale_R: Tensor) -> Tensor:
        """Return the bits of points [.., R]: a power by products and square roots, which IEEE rounds correctly."""
        ratio = point.abs() * inverse_scale_R
        quarters = round(4 * self.exponent)
        if quarters == 8:
            return ratio * ratio
        power = ratio if quarters & 4 else torch.ones_like(ratio)
        if quarters & 3:
            root = ratio.sqrt()
            power = power * root if quarters & 2 else power
            power = power * root.sqrt() if quarters & 1 else power
        return power


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class CodeSearch:
    """A matrix whose codes are to be chosen. All tensors lie on one device, columns in their own order."""

    w_RC: Tensor
    """fp32."""
    step_R: Tensor
    step_C: Tensor
    """fp32; a weight's step is that of its row times that of its column."""
    factor: FeedbackFactor | None
    """Order of the columns, and how errors correct later ones; None without feedback."""
    rate: RateModel | None
    """None rounds to the nearest code."""
    price: float = 0.0
    """Squared steps that a bit is worth; above 0 where there is a rate model."""
    states: int = 1
    """1: a scalar quantizer; 4 or 8: trellis codes."""
    bounds: tuple[int, int] = (-MAX_OPEN_CODE, MAX_OPEN_CODE)
    """The smallest and the largest code."""

    @property
    def order_C(self) -> Tensor:
        """Return the columns from the first quantized to the last, int64."""
        if self.factor is None:
            return torch.arange(self.w_RC.shape[1], device=self.w_RC.device)
        return self.factor.order_C.to(self.w_RC.device)


Search = Callable[[CodeSearch], Tensor]
"""What is given -> int16 codes [R, C]."""

_machine_search: Search | None = None
_machine_map: Callable[..., Iterable[Any]] = map


@contextmanager
def searching_with(search: Search, side_by_side: Callable[..., Iterable[Any]]) -> Iterator[None]:
    """Inside the `with` block use another form of the search, which must give equal codes for weights on the CPU, and
    another `map`, which takes several matrices at a time. The plain search would gain nothing from threads."""
    global _machine_search, _machine_map
    before = _machine_search, _machine_map
    _machine_search, _machine_map = search, side_by_side
    try:
        yield
    finally:
        _machine_search, _machine_map = before


def for_each(function: Callable[[Item], Answer], items: Iterable[Item]) -> list[Answer]:
    """Return what the function, which searches codes, gives for each item, in order."""
    return list(_machine_map(function, items))


def search_codes(given: CodeSearch, plain: Callable[[RowSearch], Tensor]) -> Tensor:
    """Return int16 codes [R, C] of the machine's own search, if there is one, or of `plain`: part of the rows, columns
    in quantization order -> fp32 codes [C, R]."""
    if _machine_search is not None:
        return _machine_search(given)
    codes_RC = torch.empty_like(given.w_RC, dtype=torch.int16)
    num_rows = len(codes_RC)
    at_once = _ROWS_AT_ONCE if given.w_RC.device.type == "cpu" else num_rows
    for start in range(0, num_rows, at_once):
        part = slice(start, start + at_once)
        codes_RC[part, given.order_C] = plain(RowSearch(given, part)).T.to(torch.int16)
    return codes_RC


class RowSearch:
    """Part of the rows, column by column in quantization order."""

    def __init__(self, given: CodeSearch, part: slice) -> None:
        order_C = given.order_C
        self.price, self.states, self.bounds = given.price, given.states, given.bounds
        self.w_CR = given.w_RC[part].T[order_C].contiguous()
        """The weights, each corrected by the errors of all columns before it that are decided."""
        self.step_R, self.step_C = given.step_R[part], given.step_C[order_C]
        self.correction_CC = given.factor.correction_CC.to(order_C.device) if given.factor is not None else None
        self.rate = None
        if (rate := given.rate) is not None:
            self.rate = RateModel(rate.row_R[part], rate.column_C[order_C], rate.inverse_scale_K, rate.exponent)

    def step(self, column: int) -> Tensor:
        """Return the steps [R] of a column."""
        return self.step_R * self.step_C[column]

    def correct(self, target_CN: Tensor, column: int, error_N: Tensor) -> None:
        """Take what the error of a column moves off the columns after it, of which the first ones are given."""
        if self.correction_CC is not None and len(target_CN):
            after = slice(column + 1, column + 1 + len(target_CN))
            # Neither addr nor addmm: they fuse or reorder as the processor likes.
            target_CN.sub_(self.correction_CC[column, after, None] * error_N)


def search_scalar_codes(given: CodeSearch) -> Tensor:
    """Return int16 codes [R, C]: the nearest ones or, where they cost less altogether, their neighbors toward zero."""
    return search_codes(given, _scalar_codes)


def _scalar_codes(rows: RowSearch) -> Tensor:
    codes_CR = torch.empty_like(rows.w_CR)
    for column, w_R in enumerate(rows.w_CR):
        step_R = rows.step(column)
        x_R = w_R / step_R
        code_R = x_R.round()
        if rows.rate is not None:
            code_R = _cheaper(x_R, code_R, rows.rate, rows.rate.inverse_scale_R(column), rows.price)
        codes_CR[column] = code_R.clamp_(*rows.bounds)
        rows.correct(rows.w_CR[column + 1 :], column, w_R - code_R * step_R)
    return codes_CR


def _cheaper(x_R: Tensor, code_R: Tensor, rate: RateModel, inverse_scale_R: Tensor, price: float) -> Tensor:
    """The code, or its neighbor toward zero where that costs less altogether."""
    lower_R = code_R - code_R.sign()
    saved_R = rate.bits(code_R, inverse_scale_R) - rate.bits(lower_R, inverse_scale_R)
    worse_R = (x_R - lower_R).square() - (x_R - code_R).square()
    return torch.where(worse_R < price * saved_R, lower_R, code_R)
