"""Cosine test-time training: epochs of AdamW over the validation tokens before they are scored (docs/stages/ttt.md).

It learns from tokens ahead of their scoring, so its scores are not eligible for a record.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from golfpipe.adapt.config import CosineRecipe
from golfpipe.adapt.full_weights import LossOf, cosine_factor, full_weight_step, training_batches
from golfpipe.model.network import Network
from golfpipe.optim.process_group import ALONE, ProcessGroup


def lr_scale(name: str, recipe: CosineRecipe) -> float:
    """Factor of the recipe's lr for a parameter: MLP outputs faster, MLP inputs slower."""
    if name.endswith("mlp.output.weight"):
        return recipe.mlp_output_lr_scale
    if name.endswith("mlp.input.weight"):
        return recipe.mlp_input_lr_scale
    return 1.0


def adapt_cosine(
    network: Network,
    tokens: np.ndarray,
    recipe: CosineRecipe,
    device: torch.device,
    on_epoch: Callable[[int, float, float], None],
    on_step: Callable[[int], None],
    processes: ProcessGroup = ALONE,
    loss_of: LossOf | None = None,
) -> None:
    """Change the network's weights in place. `tokens`: uint16, the whole split. `processes` share each batch.
    `loss_of`: a compiled form of the network's loss.

    `on_epoch(epoch, mean loss in nats per target, last lr factor)` after each epoch, `on_step(targets)` after each
    step. Nothing is done for an lr of 0 but computing the losses.
    """
    groups: dict[float, list[Tensor]] = {}
    for name, parameter in network.named_parameters():
        groups.setdefault(lr_scale(name, recipe), []).append(parameter)
    optimizer = torch.optim.AdamW(
        [{"params": parameters, "lr": 0.0, "scale": scale} for scale, parameters in groups.items()],
        weight_decay=0.0,
        fused=True,
    )
    num_targets = len(tokens) - 1
    batches = list(training_batches(0, num_targets, recipe.context_length, recipe.batch_sequences))
    total_steps = recipe.epochs * len(batches)
    step, factor = 0, 1.0
    for epoch in range(recipe.epochs):
        nats = torch.zeros((), dtype=torch.float64, device="cpu" if device.type == "mps" else device)
        for windows in batches:
            factor = cosine_factor(step, total_steps)
            for group in optimizer.param_groups:
                group["lr"] = recipe.lr * factor * group["scale"]
            count = sum(window.score_end - window.score_start for window in windows)
            loss = full_weight_step(
                network, loss_of or network, optimizer, tokens, windows, recipe.grad_clip, device, processes
            )
            nats += loss.to(nats.device, torch.float64) * count
            step += 1
            on_step(count)
        on_epoch(epoch + 1, nats.item() / num_targets, factor)
