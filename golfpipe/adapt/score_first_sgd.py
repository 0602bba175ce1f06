"""Score-first SGD on all weights: a chunk is scored with the sliding window, then learned from (docs/stages/ttt.md).

One window plan serves the whole text. A window belongs to the chunk of its first scored target, so when a chunk's
windows are scored, all its targets are, and only then is it trained on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, ClassVar

from golfpipe.adapt.method import Method, Recipe, Work
from golfpipe.errors import StageFailed
from golfpipe.scoring.config import EvaluateConfig

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, kw_only=True, slots=True)
class SgdRecipe(Recipe):
    """Settings of the method `score_first_sgd`."""

    epochs: int = 3
    """Passes over each chunk after it is scored."""
    lr: float = 0.002
    """Peak; a cosine over the chunks takes it to 0."""
    momentum: float = 0.9
    """The momentum of SGD, which persists from chunk to chunk."""
    chunk_tokens: int = 32_768
    """Tokens that are scored together, before they are learned from."""
    batch_sequences: int = 32
    """Sequences per step."""
    context_length: int = 2048
    """Tokens per sequence that is learned from."""
    grad_clip: float = 1.0
    """The global norm to which gradients are clipped; 0 turns clipping off."""


class ScoreFirstSgd(Method):
    """SGD on all weights, chunk after chunk of the text."""

    recipe = SgdRecipe
    about = "SGD on all weights, each chunk scored before it is learned from"
    told = ("momentum",)
    score_first = True
    shortened: ClassVar[Mapping[str, int | float]] = {"epochs": 1, "chunk_tokens": 512}

    def loss_batch(self, recipe: SgdRecipe) -> tuple[int, int]:
        return recipe.batch_sequences, recipe.context_length

    def trial_targets(self, recipe: SgdRecipe, windows: EvaluateConfig) -> int:
        return max(windows.targets_of_several_windows, recipe.chunk_tokens + max(128, 4 * windows.stride))

    def comparable_targets(self, recipe: SgdRecipe, windows: EvaluateConfig, num_targets: int) -> int:
        # The lr factor of the first update is 1 in any text, that of the second depends on its length.
        return min(windows.targets_of_same_windows(num_targets), 2 * recipe.chunk_tokens)

    def run(self, work: Work, recipe: SgdRecipe) -> np.ndarray:
        """Return the nats of every target; changes the network's weights in place.

        Momentum persists from chunk to chunk; the last chunk is not trained on. `work.processes` share a chunk's
        windows, then each batch of it.
        """
        import numpy as np
        import torch

        from golfpipe.adapt.full_weights import cosine_factor, full_weight_step, training_batches
        from golfpipe.scoring.score import score_windows
        from golfpipe.scoring.windows import batch_windows, plan_windows

        network, device, processes = work.network, work.device, work.processes
        num_targets = len(work.tokens) - 1
        nats = np.full(num_targets, np.nan, dtype=np.float32)
        optimizer = torch.optim.SGD(network.parameters(), lr=recipe.lr, momentum=recipe.momentum)
        num_chunks = -(-num_targets // recipe.chunk_tokens)
        windows = plan_windows(num_targets, work.windows)
        for chunk, chunk_windows in groupby(windows, key=lambda window: window.score_start // recipe.chunk_tokens):
            batches = list(batch_windows(chunk_windows, work.windows.pass_tokens(device.type)))
            score_windows(network.last_nats, work.tokens, processes.share(batches), nats, device, work.on_scored)
            processes.merge(nats[batches[0][0].score_start : batches[-1][-1].score_end])
            if chunk == num_chunks - 1:
                break
            start, end = chunk * recipe.chunk_tokens, (chunk + 1) * recipe.chunk_tokens
            if not np.isfinite(nats[start:end]).all():  # a chunk is trained on only once all its targets are scored
                raise StageFailed("test-time training diverged: a score is not finite", hint="lower ttt.lr")
            for group in optimizer.param_groups:
                group["lr"] = recipe.lr * cosine_factor(chunk, num_chunks)
            for _ in range(recipe.epochs):
                for batch in training_batches(start, end, recipe.context_length, recipe.batch_sequences):
                    full_weight_step(work, optimizer, batch, recipe.grad_clip)
        return nats


METHOD = ScoreFirstSgd()
