"""The floor: the matrix products of a training step or of scoring, bare, with the shapes, dtype and count of the model."""

from __future__ import annotations

from collections.abc import Callable

import torch

from golfpipe.model.config import ModelConfig

Product = tuple[int, int, int, int]
"""(count, rows, inner, columns)"""


def forward_products(config: ModelConfig, tokens: int, logit_tokens: int) -> list[Product]:
    """Products of one forward pass over `tokens` positions with logits at `logit_tokens` of them, attention's own
    left out: it is under 4 % of the multiplications at context 512 and its kernel is the library's."""
    dim, kv, layers = config.model_dim, config.num_kv_heads * config.head_dim, config.num_layers
    return [
        (2 * layers, tokens, dim, dim),
        (2 * layers, tokens, dim, kv),
        (layers, tokens, dim, config.mlp_hidden),
        (layers, tokens, config.mlp_hidden, dim),
        (1, tokens, config.bigram_dim, dim),
        (1, tokens, config.trigram_dim, dim),
        (1, logit_tokens, dim, config.vocab_size),
    ]


def backward_products(forward: list[Product]) -> list[Product]:
    """Gradients of inputs and of weights: two more products of the same size for each."""
    return [(count, r, c, k) for count, r, k, c in forward] + [(count, k, r, c) for count, r, k, c in forward]


def runner(products: list[Product], dtype: torch.dtype) -> Callable[[], None]:
    """A function that does all the products once, on operands made beforehand."""
    operands = [
        (count, torch.randn(rows, inner, dtype=dtype), torch.randn(columns, inner, dtype=dtype).T)
        for count, rows, inner, columns in products
    ]

    def run() -> None:
        with torch.inference_mode():
            for count, left, right in operands:
                for _ in range(count):
                    left @ right

    return run
