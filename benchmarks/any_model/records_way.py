"""What the public records do with their weights (pull requests 1394 and 1493 of the challenge), written anew.

Each row's step is k of its standard deviations over the largest code, k = 12.85 and 6 bits for matrices, 20 and 8 bits
for the token table; codes are chosen with error feedback (GPTQ, damping 0.01, columns by falling diagonal); all of it
is one blob of bytes, the even ones first and then the odd ones, compressed by brotli at level 11.
"""

from __future__ import annotations

from collections.abc import Mapping

import brotli
import torch
from torch import Tensor

from benchmarks.any_model.model import LoopedGPT
from golfpipe.quant.gptq import codes_with_feedback

SMALL = 65_536
"""Parameters of at most so many values stay fp16."""
DAMPING = 0.01


def second_moments(model: LoopedGPT, batches: list[Tensor]) -> dict[str, Tensor]:
    """Return E[x x^T] of the inputs of each matrix, over all passes of the looped layers."""
    sums: dict[str, Tensor] = {}
    counts: dict[str, int] = {}

    def add(name: str, x: Tensor) -> None:
        rows = x.reshape(-1, x.shape[-1]).float()
        sums[name] = sums.get(name, torch.zeros(x.shape[-1], x.shape[-1])) + rows.T @ rows
        counts[name] = counts.get(name, 0) + len(rows)

    heard, model.listener = model.listener, add
    for batch in batches:
        model(batch)
    model.listener = heard
    return {name: total / counts[name] for name, total in sums.items()}


def records_way(weights: Mapping[str, Tensor], moments: Mapping[str, Tensor]) -> tuple[int, dict[str, Tensor]]:
    """Return the bytes of the compressed blob, and the weights that come back from it."""
    blob: list[bytes] = []
    back: dict[str, Tensor] = {}
    for name, weight in weights.items():
        if weight.numel() <= SMALL:
            half = weight.half()
            blob.append(half.numpy().tobytes())
            back[name] = half.float()
            continue
        bits, deviations = (8, 20.0) if name == "table" else (6, 12.85)
        matrices = weight.unbind() if weight.dim() == 3 else [weight]
        names = [f"{name}.{index}" for index in range(len(matrices))] if weight.dim() == 3 else [name]
        parts = [_quantized(w, bits, deviations, moments[n], n) for w, n in zip(matrices, names, strict=True)]
        blob += [codes.numpy().tobytes() for codes, _ in parts] + [step.numpy().tobytes() for _, step in parts]
        back[name] = torch.stack([codes.float() * step.float() for codes, step in parts]).view(weight.shape)
    joined = b"".join(blob)
    return len(brotli.compress(joined[::2] + joined[1::2], quality=11)), back


def _quantized(w_RC: Tensor, bits: int, deviations: float, moments_CC: Tensor, name: str) -> tuple[Tensor, Tensor]:
    """Return int8 codes [R, C] and fp16 steps [R, 1]."""
    step_R1 = (deviations * w_RC.std(dim=1, keepdim=True) / (2 ** (bits - 1) - 1)).half()
    return codes_with_feedback(w_RC, step_R1, bits, moments_CC, DAMPING, name), step_R1
