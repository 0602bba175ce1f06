"""One optimizer step of all weights on a batch of validation windows: shared by the cosine and the SGD recipe."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from golfpipe.model.network import Network
from golfpipe.optim.process_group import ALONE, ProcessGroup
from golfpipe.scoring.score import window_inputs
from golfpipe.scoring.windows import Window, batch_windows, chunked_windows


def training_batches(start: int, end: int, context_length: int, sequences: int) -> Iterator[list[Window]]:
    """Disjoint windows over the targets [start, end), `sequences` at a time; a shorter rest is a batch of its own."""
    windows = (
        Window(w.start + start, w.end + start, w.score_start + start, w.score_end + start)
        for w in chunked_windows(end - start, context_length)
    )
    return batch_windows(windows, sequences * context_length)


LossOf = Callable[[Tensor, Tensor], Tensor]
"""The network's mean loss of inputs and targets, or a compiled form of it."""


def full_weight_step(
    network: Network,
    loss_of: LossOf,
    optimizer: torch.optim.Optimizer,
    tokens: np.ndarray,
    windows: list[Window],
    grad_clip: float,
    device: torch.device,
    processes: ProcessGroup = ALONE,
) -> Tensor:
    """Gradient of the mean loss over the windows, clipped by global norm, one step. Returns the loss, on the device.

    The windows, all of one length, are shared by `processes`.
    """
    optimizer.zero_grad(set_to_none=True)
    own = list(processes.share(windows))
    # A process without a window goes along, with one that counts for nothing.
    loss = loss_of(*window_inputs(tokens, own or windows[:1], device)) * (len(own) / len(windows))
    loss.backward()
    loss = loss.detach()
    processes.sum_gradients(network.parameters(), loss)
    if grad_clip > 0:
        torch.nn.utils.clip_grad_norm_(network.parameters(), grad_clip, foreach=True)
    optimizer.step()
    return loss


def cosine_factor(done: int, total: int) -> float:
    """From 1 at `done` = 0 along a half cosine to 0 at `total`."""
    return 0.5 * (1 + math.cos(math.pi * done / total))
