"""What a linear map's inputs say about its weights' errors: damping, column order, and the factor for error feedback.

The loss grows by 1/2 sum_r g_r (dw_r H dw_r), H = E[x x^T]. Quantizing column after column and correcting the later
ones (GPTQ, arXiv 2210.17323) turns that into a sum of squares, one per column, from the factor H = U U^T, U upper.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from golfpipe.errors import StageFailed

# Shapes: C columns (inputs)

_RETRIES = 6
_RETRY_FACTOR = 10.0


@dataclass(frozen=True, slots=True, eq=False)
class FeedbackFactor:
    """The order of the columns, how later ones correct an error, and what an error then costs."""

    order_C: Tensor
    """int64: columns from the first quantized to the last."""
    correction_CC: Tensor
    """fp32, strictly upper in that order: an error e of column j (value minus point) moves column k by -e * [j, k]."""
    weight_C: Tensor
    """fp64, in that order: cost of a squared error of the column, given the corrections that follow."""
    damping: float
    """The share of the mean diagonal that was added to the diagonal."""


def feedback_factor(hessian_CC: Tensor, damping: float, *, by_diagonal: bool, name: str = "tensor") -> FeedbackFactor:
    """Factor H + damping * mean(diag) * I, with the columns by falling diagonal or in their own order.

    hessian: symmetric, any float dtype. The damping grows tenfold, six times at most, where the matrix is not positive
    definite. Raises StageFailed for values that are not finite.
    """
    hessian_CC = hessian_CC.double()
    if not torch.isfinite(hessian_CC).all():
        raise StageFailed(f"{name}: the inputs' second moments are NaN or infinite")
    diagonal_C = hessian_CC.diagonal()
    order_C = torch.arange(len(hessian_CC), device=hessian_CC.device)
    # U U^T = H with U upper is the Cholesky factor of the matrix read backwards.
    backward_CC = hessian_CC.flip(0, 1)
    if by_diagonal:
        order_C = diagonal_C.argsort(descending=True, stable=True)
        backward_CC = hessian_CC[order_C.flip(0)[:, None], order_C.flip(0)]
    mean = float(backward_CC.diagonal().mean()) or 1.0
    for attempt in range(_RETRIES + 1):
        share = max(damping, 1e-8) * _RETRY_FACTOR**attempt if attempt else damping
        damped_CC = backward_CC.clone()
        damped_CC.diagonal().add_(share * mean)
        lower_CC, failed = torch.linalg.cholesky_ex(damped_CC)
        if not int(failed):
            break
    else:
        raise StageFailed(f"{name}: the inputs' second moments are not positive definite even with damping {share:g}")
    upper_CC = lower_CC.flip(0, 1)
    inverse_CC = torch.linalg.solve_triangular(
        upper_CC, torch.eye(len(upper_CC), dtype=torch.float64, device=upper_CC.device), upper=True
    )
    correction_CC = inverse_CC.div_(inverse_CC.diagonal()[:, None].clone())
    return FeedbackFactor(
        order_C=order_C,
        correction_CC=correction_CC.triu_(1).float(),
        weight_C=upper_CC.diagonal().square(),
        damping=share,
    )
