"""The floor: the matrix products of a training step or of scoring, bare, with the shapes, dtype and count of the model.

Counted: the projections of attention and MLP of every layer, the n-gram projections, the logits, and attention's own
two products, for which the library's fused kernel stands (softmax included: it is faster than two bare batched
products), backward golfpipe's own where the machine can use it. Where only some positions are scored, the last
layer's queries, outputs and MLP and the logits are counted at these alone; everything before is needed at every
position of every window, except the n-gram projections and the first layer's queries, keys and values, which windows
could share (1.4 % of the products of `16l`). Nothing else elementwise is counted, and operands lie ready in memory:
no real program reaches it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F

from benchmarks.timing import with_compiled_passes
from golfpipe.model.config import ModelConfig


class Product(NamedTuple):
    """`count` times a product [rows, inner] @ [inner, columns]."""

    count: int
    rows: int
    inner: int
    columns: int

    @property
    def multiplications(self) -> int:
        return self.count * self.rows * self.inner * self.columns


class Windows(NamedTuple):
    """`count` batches of `sequences` windows of `length`, of which the last `scored` positions are wanted."""

    count: int
    sequences: int
    length: int
    scored: int


def forward_products(config: ModelConfig, windows: Windows) -> list[Product]:
    """Products of the forward passes, attention's own left out."""
    dim, kv, layers = config.model_dim, config.num_kv_heads * config.head_dim, config.num_layers
    times, every, wanted = windows.count, windows.sequences * windows.length, windows.sequences * windows.scored
    ngrams = [(config.bigram_buckets, config.bigram_dim), (config.trigram_buckets, config.trigram_dim)]
    products = [Product(times, every, width, dim) for buckets, width in ngrams if buckets]
    products.append(Product(2 * layers * times, every, dim, kv))
    for count, rows in (((layers - 1) * times, every), (times, wanted)):
        products += [
            Product(2 * count, rows, dim, dim),
            Product(count, rows, dim, config.mlp_hidden),
            Product(count, rows, config.mlp_hidden, dim),
        ]
    products.append(Product(times, wanted, dim, config.vocab_size))
    return products


def backward_products(forward: list[Product]) -> list[Product]:
    """Gradients of both factors: two more products of the same size for each."""
    left = [Product(count, rows, columns, inner) for count, rows, inner, columns in forward]
    right = [Product(count, inner, rows, columns) for count, rows, inner, columns in forward]
    return left + right


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


def attention_runner(
    config: ModelConfig, windows: list[Windows], dtype: torch.dtype, *, backward: bool = False
) -> Callable[[], None]:
    """A function that does attention of every layer once: all positions, and in the last layer the wanted ones."""
    calls: dict[tuple[int, int, int], int] = {}
    for count, sequences, length, scored in windows:
        for times, asking in (((config.num_layers - 1) * count, length), (count, scored)):
            calls[sequences, length, asking] = calls.get((sequences, length, asking), 0) + times
    made = [
        (times, length == asking, *_heads(config, sequences, length, asking, dtype, backward))
        for (sequences, length, asking), times in calls.items()
    ]

    def run() -> None:
        with torch.set_grad_enabled(backward):
            for times, causal, query, key, value in made:
                for _ in range(times):
                    y = F.scaled_dot_product_attention(query, key, value, is_causal=causal, enable_gqa=True)
                    if backward:
                        torch.autograd.grad(y, (query, key, value), y.detach())

    return run


def _heads(
    config: ModelConfig, sequences: int, length: int, asking: int, dtype: torch.dtype, backward: bool
) -> list[torch.Tensor]:
    """Queries, keys and values as projections leave them: heads are the third axis in memory."""
    sizes = ((asking, config.num_heads), (length, config.num_kv_heads), (length, config.num_kv_heads))
    return [
        torch.randn(sequences, rows, heads, config.head_dim, dtype=dtype).transpose(1, 2).requires_grad_(backward)
        for rows, heads in sizes
    ]


def training_floor(
    config: ModelConfig, sequences: int, length: int, dtype: torch.dtype
) -> dict[str, Callable[[], None]]:
    """Forward and backward pass: the floor's two parts, to be timed and added."""
    windows = Windows(1, sequences, length, length)
    forward = forward_products(config, windows)
    return {
        "floor: products": runner(forward + backward_products(forward), dtype),
        "floor: attention": with_compiled_passes(
            True, dtype, attention_runner(config, [windows], dtype, backward=True)
        ),
    }


def scoring_floor(config: ModelConfig, windows: list[Windows], dtype: torch.dtype) -> dict[str, Callable[[], None]]:
    """Forward passes: the floor's two parts."""
    products = [product for group in windows for product in forward_products(config, group)]
    return {
        "floor: products": runner(products, dtype),
        "floor: attention": attention_runner(config, windows, dtype),
    }
