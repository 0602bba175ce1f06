"""What calibration measures: the Fisher diagonal of every tensor, and second moments of linear maps' inputs."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

# Shapes: R rows, C values per row


@dataclass(frozen=True, slots=True, eq=False)
class CalibrationData:
    """What calibration measured. Tensors on any device."""

    fisher: dict[str, Tensor]
    """Tensor name -> fp32 [R, C], F in nats per token and squared weight."""
    moments: dict[str, Tensor]
    """Name of each linear map's weight -> [C, C], E[x x^T] over tokens, summed over the layers that use it."""


def rows_of(gradient: Tensor) -> Tensor:
    """A parameter's gradient as [R, C], as codes are laid out."""
    return gradient.reshape(gradient.shape[0], -1) if gradient.ndim > 1 else gradient.reshape(1, -1)


def add_fisher(total: dict[str, Tensor], gradients: dict[str, Tensor], num_tokens: int) -> None:
    """Add one batch: gradients of the *mean* loss over num_tokens tokens whose targets the model drew.

    The variance of that mean is F / num_tokens.
    """
    for name, gradient in gradients.items():
        square = rows_of(gradient.detach()).float().square() * num_tokens
        if name in total:
            total[name] += square
        else:
            total[name] = square


def mean_fisher(total: dict[str, Tensor], num_batches: int) -> dict[str, Tensor]:
    """Sums of add_fisher -> F."""
    return {name: torch.div(square, num_batches) for name, square in total.items()}
