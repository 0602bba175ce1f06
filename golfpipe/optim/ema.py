"""Exponential moving average of all weights, in fp32 and on the weights' own device."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class WeightAverage:
    """The average of the weights: average <- d * average + (1 - d) * weights after every step.

    Without bias correction d is `decay` from the start: after n steps, decay^n of the initial weights is still in the
    average. With it d = min(decay, (1 + n) / (10 + n)) after n updates: the average soon forgets the initial weights.
    """

    def __init__(self, network: nn.Module, decay: float, bias_correction: bool) -> None:
        self.decay, self.bias_correction = decay, bias_correction
        self.num_updates = 0
        self.average = {
            name: parameter.detach().to(torch.float32, copy=True) for name, parameter in network.named_parameters()
        }

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        decay = self.decay
        if self.bias_correction:
            decay = min(decay, (1 + self.num_updates) / (10 + self.num_updates))
        weights = [parameter.detach().float() for parameter in network.parameters()]
        torch._foreach_lerp_(list(self.average.values()), weights, 1 - decay)
        self.num_updates += 1

    def state(self) -> dict[str, Tensor]:
        return dict(self.average)

    def load_state(self, average: dict[str, Tensor], num_updates: int) -> None:
        for name, tensor in average.items():
            self.average[name].copy_(tensor)
        self.num_updates = num_updates
