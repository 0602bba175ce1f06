"""A small transformer as other people write them: a looped layer, banks, a tied table, a fused projection."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class FloatLinear(nn.Linear):
    """A linear map that computes in fp32 whatever comes in."""

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x.float(), self.weight, self.bias)


class SmallGpt(nn.Module):
    """Embedding, one mixing layer that runs twice, an MLP out of a bank, and the table again as head."""

    def __init__(self, vocabulary: int = 60, width: int = 32) -> None:
        super().__init__()
        self.tok_emb = nn.Embedding(vocabulary, width)
        self.mix = FloatLinear(width, width, bias=False)
        self.bank = nn.Parameter(torch.randn(2, width, width) / width**0.5)
        self.out = nn.Linear(width, width)
        self.head = nn.Linear(width, vocabulary, bias=False)
        self.head.weight = self.tok_emb.weight
        self.register_buffer("steps", torch.tensor(7))

    def forward(self, tokens: Tensor, calibration=None) -> Tensor:
        x = self.tok_emb(tokens)
        for _ in range(2):
            x = x + torch.tanh(self.mix(x))
        for i, weight in enumerate(self.bank):
            if calibration is not None:
                calibration.add(f"bank.{i}", x)
            x = x + torch.tanh(x @ weight.T)
        return self.head(self.out(x))


def small_gpt(seed: int = 0) -> SmallGpt:
    torch.manual_seed(seed)
    return SmallGpt()


def token_batches(count: int, seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(60, (2, 9), generator=generator) for _ in range(count)]
