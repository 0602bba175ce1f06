"""Random state dicts of every type, with rules that fit them."""

from __future__ import annotations

import random

import torch
from state_dicts import WIDTHS
from torch import Tensor

from golfpipe import split
from golfpipe.weights.rules import Rule


def random_state(seed: int) -> tuple[dict[str, Tensor], dict[str, Rule]]:
    """Return (state dict, rules): coded matrices of several types, and a tensor of every type in a shape of its own."""
    source, generator = random.Random(seed), torch.Generator().manual_seed(seed)
    state: dict[str, Tensor] = {}
    rules: dict[str, Rule] = {}
    for number, dtype in enumerate(source.sample(("bfloat16", "float16", "float32", "float64"), 3)):
        shape = source.choice([(96, 100), (2, 48, 96), (4, 25, 96), (3, 5, 6, 108)])
        state[f"coded.{number}"] = _tensor(shape, dtype, generator)
        rules[f"coded.{number}"] = source.choice(("coded", "table", split(0), split(len(shape) - 1, 2), "coded"))
        if len(shape) == 2:
            rules[f"coded.{number}"] = source.choice(("transposed", "coded", split(1, [7, shape[1] - 7])))
    for dtype in WIDTHS:
        shape = tuple(source.choice((1, 2, 3, 5, 17)) for _ in range(source.randrange(5)))
        if source.random() < 0.1:
            shape = (*shape, 0)
        state[dtype] = _tensor(shape, dtype, generator)
        rules[dtype] = source.choice(("exact", "fp16", "fp16"))
    state["again"] = state[source.choice(list(state))]
    names = list(state)
    source.shuffle(names)
    return {name: state[name] for name in names}, rules


def _tensor(shape: tuple[int, ...], dtype: str, generator: torch.Generator) -> Tensor:
    kind = getattr(torch, dtype)
    if kind.is_complex:
        return torch.randn(*shape, 2, generator=generator).double().to(kind.to_real()).view(kind)[..., 0]
    normal = torch.randn(shape, generator=generator)
    if dtype == "float8_e8m0fnu":
        normal = normal.abs() + 0.1
    if kind.is_floating_point:
        return normal.to(kind)
    return (normal * 40 + 120 if dtype.startswith("u") else normal * 40).round().long().clamp(-128, 127).to(kind)
