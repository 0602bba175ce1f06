"""Optimizer state as named tensors, so that it can live in a safetensors file."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def optimizer_tensors(optimizers: list[torch.optim.Optimizer], network: nn.Module) -> dict[str, Tensor]:
    """Return the optimizers' state tensors under the names `<parameter name>/<state name>`."""
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    return {
        f"{names[id(parameter)]}/{key}": value
        for optimizer in optimizers
        for parameter, state in optimizer.state.items()
        for key, value in state.items()
    }


def load_optimizer_tensors(
    optimizers: list[torch.optim.Optimizer], network: nn.Module, tensors: dict[str, Tensor]
) -> None:
    """Put `tensors`, as `optimizer_tensors` returns them, back into the optimizers; all other state is dropped."""
    by_name: dict[str, dict[str, Tensor]] = {}
    for path, tensor in tensors.items():
        name, key = path.rsplit("/", 1)
        by_name.setdefault(name, {})[key] = tensor
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    for optimizer in optimizers:
        optimizer.state.clear()
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                found = by_name.get(names[id(parameter)])
                if found is not None:
                    optimizer.state[parameter] = {
                        key: tensor.to(parameter.device, copy=True) for key, tensor in found.items()
                    }
