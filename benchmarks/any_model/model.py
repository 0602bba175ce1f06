"""A GPT of another kind than golfpipe's, in plain PyTorch, as the public records build theirs.

Weights lie in banks, several layers' matrices in one parameter; the middle layers run twice; attention's heads are
gated; token table and output head are one parameter. Nothing here knows of golfpipe.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

VOCAB, WIDTH, LAYERS, HEADS, KV_HEADS, HEAD_WIDTH, HIDDEN = 4096, 128, 7, 4, 2, 32, 512
ORDER = (0, 1, 2, 3, 4, 2, 3, 4, 5, 6)
"""The layers in the order in which they run: 2 to 4 run twice."""
ROTATED = 16
"""Of a head's values, those that turn with the position."""
GATE_INPUTS = 12
LOGIT_CAP = 30.0

# Shapes: B sequences, T positions, D = WIDTH, H heads, K key and value heads, E values of a head

Listener = Callable[[str, Tensor], None]
"""Is told of each product with a matrix of a bank: its name (`up_bank.3`) and its inputs [..., columns]."""


def ignore(name: str, x: Tensor) -> None:
    """Listen to nothing."""


class LoopedGPT(nn.Module):
    """Token ids [B, T] -> logits [B, T, VOCAB] in fp32."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)

        def orthogonal(count: int, rows: int, columns: int) -> nn.Parameter:
            bank = torch.empty(count, rows, columns)
            for matrix in bank:
                nn.init.orthogonal_(matrix, generator=generator)
            return nn.Parameter(bank)

        self.table = nn.Parameter(torch.randn(VOCAB, WIDTH, generator=generator) * 0.02)
        self.qo_bank = orthogonal(2 * LAYERS, WIDTH, WIDTH)  # all query matrices, then all output matrices
        self.kv_bank = orthogonal(2 * LAYERS, KV_HEADS * HEAD_WIDTH, WIDTH)
        self.up_bank = orthogonal(LAYERS, HIDDEN, WIDTH)
        self.down_bank = orthogonal(LAYERS, WIDTH, HIDDEN)
        self.gate = nn.Parameter(torch.zeros(LAYERS, HEADS, GATE_INPUTS))
        self.query_gain = nn.Parameter(torch.full((LAYERS, HEADS), 3.0))
        self.attention_scale = nn.Parameter(torch.ones(LAYERS, WIDTH))
        self.mlp_scale = nn.Parameter(torch.ones(LAYERS, WIDTH))
        with torch.no_grad():
            self.qo_bank[LAYERS:] = 0
            self.down_bank.zero_()
        self.listener: Listener = ignore

    def forward(self, ids_BT: Tensor) -> Tensor:
        x_BTD = F.rms_norm(F.embedding(ids_BT, self.table), (WIDTH,))
        turns = _turns(ids_BT.shape[1])
        for layer in ORDER:
            depth = (layer + 1) ** -0.5
            x_BTD = x_BTD + self.attention_scale[layer] * self._attention(_norm(x_BTD) * depth, layer, turns)
            x_BTD = x_BTD + self.mlp_scale[layer] * self._mlp(_norm(x_BTD) * depth, layer)
        hidden_BTD = _norm(x_BTD)
        self.listener("table", hidden_BTD)
        logits = F.linear(hidden_BTD, self.table).float()
        return LOGIT_CAP * torch.tanh(logits / LOGIT_CAP)

    def _product(self, bank: str, index: int, x: Tensor) -> Tensor:
        self.listener(f"{bank}.{index}", x)
        return F.linear(x, getattr(self, bank)[index])

    def _attention(self, x_BTD: Tensor, layer: int, turns: tuple[Tensor, Tensor]) -> Tensor:
        query = self._product("qo_bank", layer, x_BTD).unflatten(-1, (HEADS, HEAD_WIDTH)).transpose(1, 2)
        key = self._product("kv_bank", layer, x_BTD).unflatten(-1, (KV_HEADS, HEAD_WIDTH)).transpose(1, 2)
        value = self._product("kv_bank", LAYERS + layer, x_BTD).unflatten(-1, (KV_HEADS, HEAD_WIDTH)).transpose(1, 2)
        query = _rotate(_norm(query), turns) * self.query_gain[layer][:, None, None]
        mixed = F.scaled_dot_product_attention(
            query.to(value.dtype), _rotate(_norm(key), turns).to(value.dtype), value, is_causal=True, enable_gqa=True
        )
        open_BTH = torch.sigmoid(F.linear(x_BTD[..., :GATE_INPUTS], self.gate[layer]))
        mixed = (mixed.transpose(1, 2) * open_BTH[..., None]).flatten(2)
        return self._product("qo_bank", LAYERS + layer, mixed)

    def _mlp(self, x_BTD: Tensor, layer: int) -> Tensor:
        hidden = F.leaky_relu(self._product("up_bank", layer, x_BTD), 0.5).square()
        return self._product("down_bank", layer, hidden)


def _norm(x: Tensor) -> Tensor:
    return F.rms_norm(x, (x.shape[-1],))


def _turns(length: int) -> tuple[Tensor, Tensor]:
    """Cosines and sines [T, ROTATED / 2] of the rotary angles."""
    rates = 10_000.0 ** (-torch.arange(0, ROTATED, 2) / ROTATED)
    angles = torch.arange(length)[:, None] * rates
    return angles.cos(), angles.sin()


def _rotate(x: Tensor, turns: tuple[Tensor, Tensor]) -> Tensor:
    cos, sin = turns
    first, second, rest = x.split([ROTATED // 2, ROTATED // 2, x.shape[-1] - ROTATED], dim=-1)
    return torch.cat([first * cos - second * sin, first * sin + second * cos, rest], dim=-1)
