"""Attention of one layer of `16l` in bf16 on a CPU: golfpipe's kernels against torch's, alternating.

python -m benchmarks attention [--quick]
ONEDNN_MAX_CPU_ISA=AVX512_CORE_BF16 python -m benchmarks attention --output /tmp/x      # without AMX tiles
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.settings import preset
from benchmarks.timing import alternate, with_own_kernels
from golfpipe.model.layers import rms_norm
from golfpipe.stages.memory import keep_freed_memory

CASES = ((4, 512), (8, 512), (2, 2048))
"""Sequences and length."""
REPEATS, CALLS = 10, 10
"""Calls in a row per repetition, since to put the kernels in force takes half a millisecond."""
FORWARD = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
BACKWARD = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward


def run(quick: bool) -> dict[str, Any]:
    """Seconds of each pass, and the distance of outputs and gradients from those of float64, relative to these."""
    if quick:
        return {"1 x 64": case(1, 64, 1)}
    return {f"{sequences} x {length}": case(sequences, length, REPEATS) for sequences, length in CASES}


def case(sequences: int, length: int, repeats: int) -> dict[str, Any]:
    keep_freed_memory()
    grad, *given = (x.bfloat16() for x in heads(sequences, length))

    def forward() -> tuple[Tensor, ...]:
        found: tuple[Tensor, ...] = FORWARD(*given, 0.0, True)
        return found

    def backward() -> tuple[Tensor, ...]:
        found: tuple[Tensor, ...] = BACKWARD(grad, *given, *left, 0.0, True)
        return found

    left = forward()
    exact = in_float64(grad, *given)

    def often(function: Callable[[], object]) -> Callable[[], None]:
        def run() -> None:
            for _ in range(CALLS):
                function()

        return run

    passes: dict[str, Callable[[], object]] = {}
    distances: dict[str, float] = {}
    for name, compiled in (("own", True), ("torch", False)):
        passes |= {
            f"{name} {function.__name__}": with_own_kernels(compiled, torch.bfloat16, often(function))
            for function in (forward, backward)
        }
        found: list[Tensor] = []

        def keep(found: list[Tensor] = found) -> None:
            found += [forward()[0], *backward()]

        with_own_kernels(compiled, torch.bfloat16, keep)()
        for what, x, y in zip(("output", "query", "key", "value"), found, exact, strict=True):
            distances[f"{name} {what} distance"] = float((x.double() - y).norm() / y.norm())
    times = alternate(passes, repeats)
    per_call = {name: {kind: value / CALLS for kind, value in found.items()} for name, found in times.items()}
    return {"seconds": per_call} | distances


def heads(sequences: int, length: int) -> list[Tensor]:
    """The outputs' gradient, queries, keys and values, as projections leave them: heads are the third axis in memory."""
    model, generator = preset("16l").model, torch.Generator().manual_seed(0)
    grad, query, key, value = (
        torch.randn(sequences, length, count, model.head_dim, generator=generator).transpose(1, 2)
        for count in (model.num_heads, model.num_heads, model.num_kv_heads, model.num_kv_heads)
    )
    return [grad, rms_norm(query) * model.qk_gain_init, rms_norm(key), value]


def in_float64(grad: Tensor, *given: Tensor) -> list[Tensor]:
    """Output and gradients of the same bf16 values."""
    leaves = [x.double().requires_grad_() for x in given]
    y = F.scaled_dot_product_attention(*leaves, is_causal=True, enable_gqa=True)
    return [y.detach(), *torch.autograd.grad(y, leaves, grad.double())]
