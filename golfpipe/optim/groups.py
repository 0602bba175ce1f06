"""The parameter groups and their optimizers (docs/stages/train.md, Method). Every parameter is in exactly one group."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from golfpipe.optim.config import OptimConfig
from golfpipe.optim.muon import Muon
from golfpipe.optim.process_group import ALONE, ProcessGroup


def parameter_group(name: str, ndim: int) -> str:
    """Return the parameter's group: `embed` by the name of a table, then `matrix` by rank, else `scalar`."""
    if name.endswith(("_embedding.weight", ".table.weight", "output_head.weight")):
        return "embed"
    if ndim == 2 and name.endswith(".weight"):
        return "matrix"
    return "scalar"


def group_parameters(network: nn.Module) -> dict[str, dict[str, Tensor]]:
    """Return the parameters of each group by name, in the network's order."""
    groups: dict[str, dict[str, Tensor]] = {"matrix": {}, "embed": {}, "scalar": {}}
    for name, parameter in network.named_parameters():
        groups[parameter_group(name, parameter.ndim)][name] = parameter
    return groups


def build_optimizers(
    network: nn.Module, config: OptimConfig, muon_dtype: torch.dtype, processes: ProcessGroup = ALONE
) -> list[torch.optim.Optimizer]:
    """Return Muon for the matrices, and one fused AdamW with two learning rates for tables and scalars.

    Each parameter group carries `peak_lr`; `set_lr_factor` scales it.
    """
    groups = group_parameters(network)
    muon = Muon(
        groups["matrix"].values(),
        lr=config.matrix_lr,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
        dtype=muon_dtype,
        row_normalize=config.row_normalize,
        processes=processes,
    )
    adam = torch.optim.AdamW(
        [
            _adam_group(groups["embed"], config.embed_lr, config.embed_weight_decay, config),
            _adam_group(groups["scalar"], config.scalar_lr, config.scalar_weight_decay, config),
        ],
        betas=(config.beta1, config.beta2),
        eps=config.eps,
        fused=True,
    )
    for optimizer in (muon, adam):
        for group in optimizer.param_groups:
            group["peak_lr"] = group["lr"]
    return [muon, adam]


def _adam_group(parameters: dict[str, Tensor], lr: float, decay: float | None, config: OptimConfig) -> dict[str, Any]:
    own = config.weight_decay if decay is None else decay
    return {"params": list(parameters.values()), "lr": lr, "weight_decay": own}


def set_lr_factor(optimizers: list[torch.optim.Optimizer], factor: float) -> None:
    """Set every group's lr to `factor` times its peak."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["peak_lr"] * factor


def set_momentum(optimizers: list[torch.optim.Optimizer], momentum: float) -> None:
    """Set Muon's momentum."""
    for optimizer in optimizers:
        if isinstance(optimizer, Muon):
            for group in optimizer.param_groups:
                group["momentum"] = momentum
