"""Attention of one layer of `16l` in bf16 on a CPU: golfpipe's backward pass against torch's, alternating.

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
from benchmarks.timing import alternate, with_compiled_passes
from golfpipe.machine.memory import keep_freed_memory
from golfpipe.model.layers import rms_norm

CASES = ((4, 512), (8, 512), (2, 2048))
"""Sequences and length."""
REPEATS, CALLS = 10, 10
"""Calls in a row per repetition, since to put the kernel in force takes half a millisecond."""
FORWARD = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
BACKWARD = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward


def run(quick: bool) -> dict[str, Any]:
    """Seconds of each pass, and the distance of the gradients from those of float64, relative to these."""
    if quick:
        return {"1 x 64": case(1, 64, 1)}
    return {f"{sequences} x {length}": case(sequences, length, REPEATS) for sequences, length in CASES}


def case(sequences: int, length: int, repeats: int) -> dict[str, Any]:
    keep_freed_memory()
    grad, *given = (x.bfloat16() for x in heads(sequences, length))
    left = FORWARD(*given, 0.0, True)

    def backward() -> list[Tensor]:
        return list(BACKWARD(grad, *given, *left, 0.0, True))

    exact = in_float64(grad, *given)
    passes: dict[str, Callable[[], object]] = {"torch forward": lambda: often(lambda: FORWARD(*given, 0.0, True))}
    distances: dict[str, float] = {}
    for name, compiled in (("torch backward", False), ("own backward", True)):
        passes[name] = with_compiled_passes(compiled, torch.bfloat16, lambda: often(backward))
        found: list[Tensor] = []
        with_compiled_passes(compiled, torch.bfloat16, lambda found=found: found.extend(backward()))()  # type: ignore[misc]
        for what, x, y in zip(("queries", "keys", "values"), found, exact, strict=True):
            distances[f"{name}: distance of {what}"] = float((x.double() - y).norm() / y.norm())
    times = alternate(passes, repeats)
    per_call = {name: {kind: value / CALLS for kind, value in found.items()} for name, found in times.items()}
    return {"seconds": per_call} | distances


def often(function: Callable[[], object]) -> None:
    for _ in range(CALLS):
        function()


def heads(sequences: int, length: int) -> list[Tensor]:
    """The outputs' gradient, queries, keys and values, as projections leave them: heads are the
    third axis in memory."""
    model, generator = preset("16l").model, torch.Generator().manual_seed(0)
    grad, query, key, value = (
        torch.randn(sequences, length, count, model.head_dim, generator=generator).transpose(1, 2)
        for count in (model.num_heads, model.num_heads, model.num_kv_heads, model.num_kv_heads)
    )
    return [grad, rms_norm(query) * model.qk_gain_init, rms_norm(key), value]


def in_float64(grad: Tensor, *given: Tensor) -> list[Tensor]:
    """Gradients at the same bf16 values."""
    leaves = [x.double().requires_grad_() for x in given]
    y = F.scaled_dot_product_attention(*leaves, is_causal=True, enable_gqa=True)
    return list(torch.autograd.grad(y, leaves, grad.double()))
