"""What bits cost, as a gradient for training: the mean code length of matrices and n-gram tables joins the loss.

Codes in steps of k root mean squares (ClassScheme.step), under a Laplace law with the tensor's own mean magnitude, take
log2(2 e mean|w| / (k rms w)) bits each. Whatever k is, and whatever the tensor's scale, the gradient is the same: it
moves weights from the middle to zero and to the few that are large.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor


@torch.no_grad()
def add_rate_gradient(weights: Sequence[Tensor], nats_per_bit: float) -> None:
    """Add to each .grad the gradient of nats_per_bit times the mean bits of a weight, over all of `weights` together.

    Of a tensor of zeros it is zero. Never waits for the GPU.
    """
    price = nats_per_bit / math.log(2) / sum(w.numel() for w in weights)
    for w in weights:
        assert w.grad is not None
        least = torch.finfo(w.dtype).tiny
        w.grad.add_(w.sign() / w.abs().mean().clamp(min=least), alpha=price)
        w.grad.sub_(w / w.square().mean().clamp(min=least), alpha=price)
