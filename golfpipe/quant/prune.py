"""Magnitude pruning: the smallest weights of a matrix become zero, which costs little and codes cheaply."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def prune_smallest(weight: Tensor, fraction: float) -> Tensor:
    """Copy of weight with its floor(fraction * n) smallest magnitudes set to 0; ties go to the lower index.

    Any shape; 0 <= fraction < 1. Exact count, so that the same weights always lose the same values.
    """
    flat = weight.detach().reshape(-1).clone()
    count = math.floor(fraction * flat.numel())
    if count == 0:
        return flat.reshape(weight.shape)
    magnitude = flat.abs()
    threshold = magnitude.kthvalue(count).values
    below = magnitude < threshold
    flat[below] = 0
    ties = (magnitude == threshold).nonzero()[:, 0]  # ascending indices
    flat[ties[: count - int(below.sum())]] = 0
    assert torch.count_nonzero(below) <= count
    return flat.reshape(weight.shape)
