"""Hashed n-gram embeddings and the smear gate (docs/model.md): cheap context before the first block."""

# Shapes: B batch, T time, D model width, W table width

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from golfpipe.model.layers import CastLinear

BIGRAM_FACTORS = (36313, 27191)
TRIGRAM_FACTORS = (73856, 19349, 83492)
"""Factors of the tokens at t, t-1, t-2; the products are XORed."""


def ngram_buckets(tokens_BT: Tensor, num_buckets: int, factors: tuple[int, ...], bos_id: int | None) -> Tensor:
    """Return the table row of every position, int64 [B, T]: (factors[0] * id_t XOR factors[1] * id_{t-1} ...) mod
    (num_buckets - 1).

    Positions without enough predecessors use the last row, num_buckets - 1. Where `bos_id` is given, predecessors
    before the last BOS count as missing.
    """
    order = len(factors)
    hashed_BT = factors[0] * tokens_BT
    missing_BT = torch.zeros_like(tokens_BT, dtype=torch.bool)
    for back in range(1, order):
        shifted_BT = F.pad(tokens_BT, (back, 0))[:, : tokens_BT.shape[1]]
        hashed_BT = hashed_BT ^ (factors[back] * shifted_BT)
        if bos_id is not None:
            # A BOS at t - back + 1 .. t cuts off the token at t - back. Each pass adds one place; earlier ones did the
            # rest.
            newer_BT = F.pad(tokens_BT, (back - 1, 0), value=-1)[:, : tokens_BT.shape[1]]
            missing_BT = missing_BT | (newer_BT == bos_id)
    position_T = torch.arange(tokens_BT.shape[1], device=tokens_BT.device)
    missing_BT = missing_BT | (position_T < order - 1)
    return torch.where(missing_BT, num_buckets - 1, hashed_BT % (num_buckets - 1))


class NgramEmbedding(nn.Module):
    """An n-gram's table row, projected to the model's width and multiplied by a learned scalar."""

    def __init__(
        self, num_buckets: int, width: int, model_dim: int, factors: tuple[int, ...], bos_id: int | None
    ) -> None:
        super().__init__()
        self.num_buckets, self.factors, self.bos_id = num_buckets, factors, bos_id
        self.table = nn.Embedding(num_buckets, width)
        self.projection = CastLinear(width, model_dim)
        self.scale = nn.Parameter(torch.tensor(0.05))

    def forward(self, tokens_BT: Tensor, dtype: torch.dtype) -> Tensor:
        rows_BTW = self.table(ngram_buckets(tokens_BT, self.num_buckets, self.factors, self.bos_id)).to(dtype)
        projected_BTD: Tensor = self.projection(rows_BTW)
        return projected_BTD * self.scale.to(dtype)


class SmearGate(nn.Module):
    """A learned mix of each position with the one before it: (1 - g) x_t + g x_{t-1}, g = sigmoid(gate) per channel."""

    def __init__(self, model_dim: int, bos_id: int | None) -> None:
        super().__init__()
        self.bos_id = bos_id
        self.gate = nn.Parameter(torch.zeros(model_dim))

    def forward(self, x_BTD: Tensor, tokens_BT: Tensor) -> Tensor:
        g_D = self.gate.to(x_BTD.dtype).sigmoid()
        before_BTD = F.pad(x_BTD, (0, 0, 1, 0))[:, :-1]
        if self.bos_id is not None:
            before_BTD = before_BTD * (tokens_BT != self.bos_id).unsqueeze(-1)
        return (1 - g_D) * x_BTD + g_D * before_BTD
