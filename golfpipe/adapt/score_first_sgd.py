"""Score-first SGD on all weights: a chunk is scored with the sliding window, then learned from (docs/stages/ttt.md).

One window plan for the whole text. A window belongs to the chunk of its first scored target, so when a chunk's windows
are scored, all its targets are, and only then is it trained on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import groupby

import numpy as np
import torch

from golfpipe.adapt.config import SgdRecipe
from golfpipe.adapt.full_weights import LossOf, cosine_factor, full_weight_step, training_batches
from golfpipe.model.network import Network
from golfpipe.optim.process_group import ALONE, ProcessGroup
from golfpipe.scoring.score import score_windows
from golfpipe.scoring.windows import Window, batch_windows


def score_first_sgd(
    network: Network,
    tokens: np.ndarray,
    windows: Iterator[Window],
    recipe: SgdRecipe,
    batch_tokens: int,
    device: torch.device,
    on_scored: Callable[[int, float], None] | None = None,
    processes: ProcessGroup = ALONE,
    loss_of: LossOf | None = None,
) -> np.ndarray:
    """Nats per target, fp32 [len(tokens) - 1]. Changes the network's weights in place.

    `windows`: the plan over all targets, in order. `batch_tokens`: input tokens per scoring pass. Momentum persists
    from chunk to chunk; the last chunk is not trained on. `processes` share a chunk's windows, then each batch of it.
    `loss_of`: a compiled form of the network's loss.
    """
    num_targets = len(tokens) - 1
    nats = np.full(num_targets, np.nan, dtype=np.float32)
    optimizer = torch.optim.SGD(network.parameters(), lr=recipe.lr, momentum=recipe.momentum)
    num_chunks = -(-num_targets // recipe.chunk_tokens)
    for chunk, chunk_windows in groupby(windows, key=lambda window: window.score_start // recipe.chunk_tokens):
        batches = list(batch_windows(chunk_windows, batch_tokens))
        score_windows(network.last_nats, tokens, processes.share(batches), nats, device, on_scored)
        processes.merge(nats[batches[0][0].score_start : batches[-1][-1].score_end])
        if chunk == num_chunks - 1:
            break
        start, end = chunk * recipe.chunk_tokens, (chunk + 1) * recipe.chunk_tokens
        assert not np.isnan(nats[start:end]).any(), "a chunk is trained on only once all its targets are scored"
        for group in optimizer.param_groups:
            group["lr"] = recipe.lr * cosine_factor(chunk, num_chunks)
        for _ in range(recipe.epochs):
            for batch in training_batches(start, end, recipe.context_length, recipe.batch_sequences):
                full_weight_step(
                    network, loss_of or network, optimizer, tokens, batch, recipe.grad_clip, device, processes
                )
    return nats
