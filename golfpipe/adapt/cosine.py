"""Cosine test-time training: epochs of AdamW over the validation tokens before they are scored (docs/stages/ttt.md).

It learns from tokens ahead of their scoring, so its scores are not eligible for a record.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from golfpipe.adapt.method import Method, Recipe, Work

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class CosineRecipe(Recipe):
    """Settings of the method `cosine`."""

    epochs: int = 30
    """Passes over the validation tokens."""
    lr: float = 5e-4
    """Peak; a cosine takes it to 0 over all steps."""
    batch_sequences: int = 32
    """Sequences per step."""
    context_length: int = 2048
    """Tokens per sequence."""
    grad_clip: float = 1.0
    """The global norm to which gradients are clipped; 0 turns clipping off."""
    mlp_output_lr_scale: float = 3.0
    """The factor on the learning rate of the MLPs' output matrices."""
    mlp_input_lr_scale: float = 0.5
    """The factor on the learning rate of the MLPs' input matrices."""


class Cosine(Method):
    """AdamW on all weights, over the whole text, before any of it is scored."""

    recipe = CosineRecipe
    about = "AdamW on the validation tokens before they are scored"
    score_first = False
    shortened: ClassVar[Mapping[str, int | float]] = {"epochs": 1}

    def loss_batch(self, recipe: CosineRecipe) -> tuple[int, int]:
        return recipe.batch_sequences, recipe.context_length

    def run(self, work: Work, recipe: CosineRecipe) -> None:
        """Change the network's weights in place; `work.processes` share each batch.

        With an lr of 0 nothing is done but computing the losses.
        """
        import torch

        from golfpipe.adapt.full_weights import cosine_factor, full_weight_step, training_batches

        groups: dict[float, list[Tensor]] = {}
        for name, parameter in work.network.named_parameters():
            groups.setdefault(lr_scale(name, recipe), []).append(parameter)
        optimizer = torch.optim.AdamW(
            [{"params": parameters, "lr": 0.0, "scale": scale} for scale, parameters in groups.items()],
            weight_decay=0.0,
            fused=True,
        )
        num_targets = len(work.tokens) - 1
        batches = list(training_batches(0, num_targets, recipe.context_length, recipe.batch_sequences))
        total_steps = recipe.epochs * len(batches)
        step, factor = 0, 1.0
        for epoch in range(recipe.epochs):
            nats = torch.zeros((), dtype=torch.float64, device="cpu" if work.device.type == "mps" else work.device)
            for windows in batches:
                factor = cosine_factor(step, total_steps)
                for group in optimizer.param_groups:
                    group["lr"] = recipe.lr * factor * group["scale"]
                count = sum(window.score_end - window.score_start for window in windows)
                loss = full_weight_step(work, optimizer, windows, recipe.grad_clip)
                nats += loss.to(nats.device, torch.float64) * count
                step += 1
                work.on_step(count)
            work.on_epoch(epoch + 1, nats.item() / num_targets, factor)


def lr_scale(name: str, recipe: CosineRecipe) -> float:
    """Return the factor of the recipe's lr for a parameter: MLP outputs learn faster, MLP inputs slower."""
    if name.endswith("mlp.output.weight"):
        return recipe.mlp_output_lr_scale
    if name.endswith("mlp.input.weight"):
        return recipe.mlp_input_lr_scale
    return 1.0


METHOD = Cosine()
