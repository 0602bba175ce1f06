"""A training script as other people write them: one file, plain PyTorch, nothing of golfpipe.

A rotary transformer on bytes: a fused projection, output and MLP matrices in banks, middle layers that run twice, a
tied table. It learns its own source text.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

VOCABULARY, WIDTH, HEADS, LAYERS, CONTEXT = 256, 64, 4, 3, 48
ORDER = (0, 1, 1, 2)


def product(x: Tensor, bank: nn.Parameter, name: str, i: int) -> Tensor:
    """x times matrix i of a bank."""
    if product.watch is not None:
        product.watch(f"{name}.{i}", x)
    return F.linear(x, bank[i])


product.watch = None


def rotated(x: Tensor) -> Tensor:
    half = x.shape[-1] // 2
    angles = torch.outer(torch.arange(x.shape[-2]), 100.0 ** -torch.linspace(0, 1, half))
    a, b = x[..., :half], x[..., half:]
    return torch.cat((a * angles.cos() - b * angles.sin(), a * angles.sin() + b * angles.cos()), dim=-1)


class Gpt(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.tok_emb = nn.Embedding(VOCABULARY, WIDTH)
        self.qkv = nn.ModuleList(nn.Linear(WIDTH, 3 * WIDTH, bias=False) for _ in range(LAYERS))
        self.out_bank = nn.Parameter(torch.randn(LAYERS, WIDTH, WIDTH) * 0.02)
        self.up_bank = nn.Parameter(torch.randn(LAYERS, 3 * WIDTH, WIDTH) * WIDTH**-0.5)
        self.down_bank = nn.Parameter(torch.randn(LAYERS, WIDTH, 3 * WIDTH) * 0.02)
        self.gains = nn.Parameter(torch.ones(LAYERS, 2, WIDTH))
        self.register_buffer("loop_order", torch.tensor(ORDER))
        nn.init.normal_(self.tok_emb.weight, std=0.1)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.tok_emb(tokens)
        batch, length = tokens.shape
        for i in self.loop_order.tolist():
            q, k, v = self.qkv[i](F.rms_norm(x, (WIDTH,)) * self.gains[i, 0]).chunk(3, dim=-1)
            q, k, v = (t.view(batch, length, HEADS, -1).transpose(1, 2) for t in (q, k, v))
            y = F.scaled_dot_product_attention(rotated(q), rotated(k), v, is_causal=True)
            x = x + product(y.transpose(1, 2).reshape(batch, length, WIDTH), self.out_bank, "out_bank", i)
            y = product(F.rms_norm(x, (WIDTH,)) * self.gains[i, 1], self.up_bank, "up_bank", i)
            x = x + product(F.relu(y).square(), self.down_bank, "down_bank", i)
        return F.rms_norm(x, (WIDTH,)) @ self.tok_emb.weight.T * WIDTH**0.5


TEXT = torch.tensor(list(Path(__file__).read_bytes()))


def train_batches(count: int, seed: int = 0) -> list[Tensor]:
    """Windows [8, CONTEXT] of the text, each with the byte that follows."""
    generator = torch.Generator().manual_seed(seed)
    starts = torch.randint(len(TEXT) - CONTEXT - 1, (count, 8), generator=generator)
    return [torch.stack([TEXT[s : s + CONTEXT + 1] for s in row.tolist()]) for row in starts]


def loss_of(model: Gpt, batch: Tensor) -> Tensor:
    return F.cross_entropy(model(batch[:, :-1]).flatten(0, 1), batch[:, 1:].flatten())


def trained(steps: int = 80) -> Gpt:
    torch.manual_seed(0)
    model = Gpt()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for batch in train_batches(steps):
        optimizer.zero_grad()
        loss_of(model, batch).backward()
        optimizer.step()
    return model
