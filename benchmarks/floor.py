"""The floor: the matrix products of a training step or of scoring, bare, with the shapes, dtype and count of the model.

Counted: the projections of attention and MLP of every layer, the n-gram projections, the logits, and attention's own two
products over the causal half of the positions. Where only some positions are scored, the last layer's queries, outputs
and MLP and the logits are counted at these alone; everything before is needed at every position of every window, except
the n-gram projections and the first layer's projections, which windows could share (1.6 % of the products of `16l`).
Nothing elementwise is counted, and operands lie ready in memory: no real program reaches it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch

from golfpipe.model.config import ModelConfig


class Product(NamedTuple):
    """`count` times a product [batch, rows, inner] @ [batch, inner, columns]."""

    count: int
    batch: int
    rows: int
    inner: int
    columns: int

    @property
    def multiplications(self) -> int:
        return self.count * self.batch * self.rows * self.inner * self.columns


def forward_products(config: ModelConfig, sequences: int, length: int, scored: int) -> list[Product]:
    """Products of one forward pass over `sequences` windows of `length`, whose last `scored` positions are wanted."""
    dim, kv, hidden, layers = (
        config.model_dim,
        config.num_kv_heads * config.head_dim,
        config.mlp_hidden,
        config.num_layers,
    )
    every, wanted = sequences * length, sequences * scored
    ngrams = [(config.bigram_buckets, config.bigram_dim), (config.trigram_buckets, config.trigram_dim)]
    products = [Product(1, 1, every, width, dim) for buckets, width in ngrams if buckets]
    products.append(Product(2 * layers, 1, every, dim, kv))
    for count, rows in ((layers - 1, every), (1, wanted)):
        products += [
            Product(2 * count, 1, rows, dim, dim),
            Product(count, 1, rows, dim, hidden),
            Product(count, 1, rows, hidden, dim),
        ]
    heads, width = sequences * config.num_heads, config.head_dim
    for count, rows, seen in ((layers - 1, length, length // 2), (1, scored, length - scored // 2)):
        products += [Product(count, heads, rows, width, seen), Product(count, heads, rows, seen, width)]
    products.append(Product(1, 1, wanted, dim, config.vocab_size))
    return [product for product in products if product.count]


def backward_products(forward: list[Product]) -> list[Product]:
    """Gradients of both factors: two more products of the same size for each."""
    left = [Product(count, batch, rows, columns, inner) for count, batch, rows, inner, columns in forward]
    right = [Product(count, batch, inner, rows, columns) for count, batch, rows, inner, columns in forward]
    return left + right


def runner(products: list[Product], dtype: torch.dtype) -> Callable[[], None]:
    """A function that does all the products once, on operands made beforehand."""
    operands = []
    for count, batch, rows, inner, columns in products:
        left, right = torch.randn(batch, rows, inner, dtype=dtype), torch.randn(batch, columns, inner, dtype=dtype).mT
        operands.append((count, left[0], right[0]) if batch == 1 else (count, left, right))

    def run() -> None:
        with torch.inference_mode():
            for count, left, right in operands:
                for _ in range(count):
                    left @ right

    return run
