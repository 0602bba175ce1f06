"""Cross-entropy of softcapped logits, a block of rows at a time.

The plain form keeps several [N, V] matrices in fp32 for the backward pass, of 268 MB each at 65,536 tokens and 1024
pieces; on a CPU, moving them costs more than the products. Here a block's logits stay in the cache. The gradients of
hidden states and head are computed in the forward pass already: the loss is a mean, so the gradient that arrives later
is one scalar that multiplies them.
"""

# Shapes: N positions, V vocabulary, D model width

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from golfpipe.model.layers import widened

BLOCK_ROWS = 512


def capped_logits(hidden: Tensor, head_VD: Tensor, softcap: float) -> Tensor:
    """Return softcap * tanh(hidden @ head^T / softcap) in fp32, [..., V] for hidden states [..., D]."""
    return _tanh_logits(hidden, head_VD.to(hidden.dtype), softcap) * softcap


def _tanh_logits(hidden: Tensor, cast_VD: Tensor, softcap: float) -> Tensor:
    return _tanh(hidden @ cast_VD.T, softcap)


def _tanh(logits: Tensor, softcap: float) -> Tensor:
    return widened(logits).div(softcap).tanh()


class _CappedMeanLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden_ND: Tensor, head_VD: Tensor, targets_N: Tensor, softcap: float) -> Tensor:
        cast_VD = head_VD.to(hidden_ND.dtype)
        rows = len(targets_N)
        total = widened(hidden_ND.new_zeros(()))
        grad_hidden_ND = torch.empty_like(hidden_ND)
        grad_head_VD = torch.zeros_like(head_VD)
        for first in range(0, rows, BLOCK_ROWS):
            block = slice(first, first + BLOCK_ROWS)
            hidden, targets = hidden_ND[block], targets_N[block]
            tanh = _tanh_logits(hidden, cast_VD, softcap)
            log_probability = torch.log_softmax(tanh * softcap, dim=-1)
            total -= log_probability.gather(1, targets[:, None]).sum()
            # d nats / d z = p - onehot, and d softcapped / d raw = 1 - tanh^2.
            grad = log_probability.exp_()
            grad.scatter_add_(1, targets[:, None], grad.new_full((len(targets), 1), -1.0))
            grad.mul_(tanh.square_().neg_().add_(1)).div_(rows)
            grad = grad.to(hidden.dtype)
            grad_hidden_ND[block] = grad @ cast_VD
            grad_head_VD += (grad.T @ hidden).to(head_VD.dtype)
        ctx.save_for_backward(grad_hidden_ND, grad_head_VD)
        return total / rows

    @staticmethod
    def backward(ctx: Any, grad_loss: Tensor) -> tuple[Tensor, Tensor, None, None]:
        grad_hidden_ND, grad_head_VD = ctx.saved_tensors
        return grad_hidden_ND * grad_loss.to(grad_hidden_ND.dtype), grad_head_VD * grad_loss, None, None


def capped_mean_loss(hidden_ND: Tensor, head_VD: Tensor, targets_N: Tensor, softcap: float) -> Tensor:
    """Return the mean cross-entropy in nats, a scalar in fp32, of the logits softcap * tanh(hidden @ head^T /
    softcap)."""
    given = (hidden_ND, head_VD, targets_N, softcap)
    mean: Tensor = _CappedMeanLoss.apply(*given)  # type: ignore[no-untyped-call]  # torch leaves it untyped
    return mean


def capped_nats(
    hidden_ND: Tensor, head_VD: Tensor, targets_N: Tensor, softcap: float, added_NV: Tensor | None = None
) -> Tensor:
    """Return the cross-entropy of each target in nats, fp32 [N], differentiated by autograd as usual. `added_NV` adds
    to the logits before their cap."""
    cast_VD = head_VD.to(hidden_ND.dtype)
    if added_NV is not None:
        capped_NV = _tanh(hidden_ND @ cast_VD.T + added_NV, softcap) * softcap
        return F.cross_entropy(capped_NV, targets_N, reduction="none")
    return torch.cat(
        [
            F.cross_entropy(_tanh_logits(hidden, cast_VD, softcap) * softcap, targets, reduction="none")
            for hidden, targets in zip(hidden_ND.split(BLOCK_ROWS), targets_N.split(BLOCK_ROWS), strict=True)
        ]
    )
