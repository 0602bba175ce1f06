"""One optimizer step of all weights on a batch of validation windows, for every method that learns so."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from golfpipe.adapt.method import Work
from golfpipe.scoring.score import window_inputs
from golfpipe.scoring.windows import Window, batch_windows, chunked_windows


def training_batches(start: int, end: int, context_length: int, sequences: int) -> Iterator[list[Window]]:
    """Disjoint windows over the targets [start, end), `sequences` at a time; a shorter rest is a batch of its own."""
    windows = (
        Window(w.start + start, w.end + start, w.score_start + start, w.score_end + start)
        for w in chunked_windows(end - start, context_length)
    )
    return batch_windows(windows, sequences * context_length)


def full_weight_step(work: Work, optimizer: torch.optim.Optimizer, windows: list[Window], grad_clip: float) -> Tensor:
    """Take one step down the gradient of the mean loss over the windows, clipped by global norm. Return the loss, on
    the device.

    The windows, all of one length, are shared by `work.processes`.
    """
    network, processes = work.network, work.processes
    optimizer.zero_grad(set_to_none=True)
    own = list(processes.share(windows))
    # A process without a window goes along, with one that counts for nothing.
    inputs, targets = window_inputs(work.tokens, own or windows[:1], work.device)
    loss = (work.loss_of or network)(inputs, targets) * (len(own) / len(windows))
    loss.backward()
    loss = loss.detach()
    processes.sum_gradients(network.parameters(), loss)
    if grad_clip > 0:
        torch.nn.utils.clip_grad_norm_(network.parameters(), grad_clip, foreach=True)
    optimizer.step()
    return loss


def cosine_factor(done: int, total: int) -> float:
    """Fall from 1 at `done` = 0 along a half cosine to 0 at `total`."""
    return 0.5 * (1 + math.cos(math.pi * done / total))
