"""Train and score the looped GPT: Muon for the banks, Adam for the rest, the learning rate falls to zero."""

from __future__ import annotations

import math
import time

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.any_model.model import LoopedGPT
from benchmarks.any_model.text import Text
from golfpipe.optim.muon import aspect_scale, orthogonalize

CONTEXT, BATCH = 256, 16
MUON_RATE, ADAM_RATE, DECAY, MOMENTUM = 0.02, 0.008, 0.05, 0.95
FALLING = 0.6
"""The share of the steps over which the learning rate falls."""


def train(text: Text, seed: int, steps: int) -> LoopedGPT:
    """Return a model trained for `steps` batches of the text, whose windows come in an order drawn from the seed."""
    model = LoopedGPT(seed)
    banks = [p for name, p in model.named_parameters() if name.endswith("_bank")]
    others = [p for name, p in model.named_parameters() if not name.endswith("_bank")]
    momenta = [torch.zeros_like(bank) for bank in banks]
    adam = torch.optim.Adam(others, lr=ADAM_RATE, betas=(0.9, 0.95), eps=1e-8)
    windows = np.random.default_rng(seed).permutation((len(text.train) - 1) // CONTEXT)
    started = time.perf_counter()
    for step in range(steps):
        rate = min(1.0, (steps - step) / (FALLING * steps))
        chosen = windows[np.arange(step * BATCH, (step + 1) * BATCH) % len(windows)]
        tokens = torch.from_numpy(
            np.stack([text.train[w * CONTEXT : w * CONTEXT + CONTEXT + 1] for w in chosen]).astype(np.int64)
        )
        with torch.autocast("cpu", torch.bfloat16):
            logits = model(tokens[:, :-1])
        loss = F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())
        loss.backward()  # type: ignore[no-untyped-call]
        for group in adam.param_groups:
            group["lr"] = ADAM_RATE * rate
        adam.step()
        _muon_step(banks, momenta, MUON_RATE * rate)
        model.zero_grad()
        if step % 50 == 0 or step == steps - 1:
            print(f"  seed {seed} step {step}: {loss.item():.4f}, {time.perf_counter() - started:.0f} s", flush=True)
    return model.eval().requires_grad_(False)


@torch.no_grad()
def _muon_step(banks: list[nn.Parameter], momenta: list[Tensor], rate: float) -> None:
    """Move each matrix of each bank along its orthogonalized Nesterov momentum."""
    for bank, momentum in zip(banks, momenta, strict=True):
        assert bank.grad is not None
        momentum.lerp_(bank.grad, 1 - MOMENTUM)
        update = orthogonalize(bank.grad.lerp(momentum, MOMENTUM))
        bank.mul_(1 - rate * DECAY).add_(update, alpha=-rate * aspect_scale(*bank.shape[1:]))


@torch.no_grad()
def bits_per_byte(model: LoopedGPT, text: Text) -> float:
    """Score the whole validation text in fp32, in windows of CONTEXT tokens that begin anew."""
    nats = 0.0
    tokens = torch.from_numpy(text.val.astype(np.int64))
    for first in range(0, len(tokens) - 1, CONTEXT * BATCH):
        part = tokens[first : first + CONTEXT * BATCH + 1]
        whole = (len(part) - 1) // CONTEXT * CONTEXT
        for window in (part[: whole + 1], part[whole:]):
            if len(window) > 1:
                length = min(CONTEXT, len(window) - 1)
                logits = model(window[:-1].view(-1, length))
                losses = F.cross_entropy(logits.flatten(0, 1), window[1:], reduction="none")
                nats += float(losses.double().sum())
    return nats / math.log(2) / text.val_bytes


def training_windows(text: Text, count: int) -> list[Tensor]:
    """Return `count` batches of training text [BATCH, CONTEXT], spread over all of it, for calibration."""
    starts = np.linspace(0, len(text.train) - CONTEXT - 1, count * BATCH).astype(np.int64)
    rows = np.stack([text.train[start : start + CONTEXT] for start in starts]).astype(np.int64)
    return list(torch.from_numpy(rows).split(BATCH))
