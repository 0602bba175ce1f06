"""The backward pass of causal attention in bf16, on a CPU with AVX512-BF16 or AMX.

There, torch's kernel takes five times as long as its forward pass. This one takes a quarter of that time at some
hundreds of positions and half of it at 2,048. It starts from the same log-sums, and its gradients of keys and values
are half as far from those of float64 (attention_backward.cpp; `python -m benchmarks attention`).
"""

# Shapes: B batch, H query heads, K key heads, T time, E head width

from __future__ import annotations

import ctypes
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from golfpipe.machine.own_code import built_library, own_code_obstacle

SOURCE = Path(__file__).with_suffix(".cpp")
OPERATOR = "_scaled_dot_product_flash_attention_for_cpu_backward"
QUERIES = 64
"""The number of queries in a block. The length of a sequence must be a multiple of it."""
WIDTH = 32
"""The width of a head must be a multiple of this."""
DEFINITIONS = (f"-DQUERIES={QUERIES}", "-DCPU_CAPABILITY=AVX512", "-DCPU_CAPABILITY_AVX512")
"""The last two definitions say which of torch's vector classes to use."""


def attention_obstacle() -> str | None:
    """Say why this machine cannot use the kernel, whatever its compiler; None where it can."""
    if (obstacle := own_code_obstacle()) is not None:
        return obstacle
    if not torch.cpu._is_avx512_bf16_supported():
        return "no AVX512-BF16"
    return None if hasattr(torch.library, "get_kernel") else f"torch {torch.__version__} cannot exchange a kernel"


_depth = 0


def attention_in_force() -> bool:
    """Return True inside the `with` block of own_attention_backward."""
    return _depth > 0


@contextmanager
def own_attention_backward(compiler: str, cache: Path) -> Iterator[None]:
    """Send attention that the kernel can do backward through it inside the `with` block, also in compiled graphs. All
    other attention keeps torch's backward pass.

    The kernel is built when it is first needed, in three seconds, and kept in `cache`. Raises RuntimeError or OSError
    where it cannot be built or does not run.
    """
    kernel = _load(compiler, cache)
    _try(kernel)
    theirs = torch.library.get_kernel(f"aten::{OPERATOR}", "CPU")

    def backward(
        keys: torch._C.DispatchKeySet,
        grad: Tensor,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        out: Tensor,
        log_sums: Tensor,
        dropout: float,
        causal: bool,
        *,
        attn_mask: Tensor | None = None,
        scale: float | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        plain = attn_mask is None and dropout == 0 and causal
        if plain and _fits(query, key, value, scale):
            return _gradients(kernel, grad, query, key, value, out, log_sums, scale)
        given = (grad, query, key, value, out, log_sums, dropout, causal)
        gradients: tuple[Tensor, Tensor, Tensor] = theirs.call_boxed(keys, *given, attn_mask=attn_mask, scale=scale)
        return gradients

    library = torch.library.Library("aten", "IMPL")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "(?s).*Overriding a previously registered kernel")  # intended
        library.impl(OPERATOR, backward, "CPU", with_keyset=True)
    global _depth
    _depth += 1
    try:
        yield
    finally:
        _depth -= 1
        library._destroy()


def _fits(query: Tensor, key: Tensor, value: Tensor, scale: float | None) -> bool:
    same = query.dtype == key.dtype == value.dtype == torch.bfloat16 and key.shape == value.shape
    square = query.shape[2:] == key.shape[2:] and query.shape[1] % key.shape[1] == 0
    whole = query.shape[2] % QUERIES == 0 and query.shape[3] % WIDTH == 0
    return same and square and whole and query.numel() > 0 and (scale is None or scale > 0)


def _gradients(
    kernel: ctypes._FuncPointer,
    grad_BHTE: Tensor,
    query_BHTE: Tensor,
    key_BKTE: Tensor,
    value_BKTE: Tensor,
    out_BHTE: Tensor,
    log_sums_BHT: Tensor,
    scale: float | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of queries, keys and values. A position's heads lie together, as in torch's own."""
    (batch, heads, length, width), kv_heads = query_BHTE.shape, key_BKTE.shape[1]
    given = [_rows(x) for x in (grad_BHTE, query_BHTE, key_BKTE, value_BKTE, out_BHTE)]
    query, key, value = (
        x.new_empty(batch, length, x.shape[1], width).transpose(1, 2) for x in (query_BHTE, key_BKTE, value_BKTE)
    )
    log_sums_BHT = log_sums_BHT.contiguous()
    tensors = (*given, query, key, value)
    strides = [stride for x in tensors for stride in x.stride()[:3]]
    error = kernel(
        *(x.data_ptr() for x in tensors),
        (ctypes.c_int64 * len(strides))(*strides),
        log_sums_BHT.data_ptr(),
        *(batch, heads, kv_heads, length, width),
        width**-0.5 if scale is None else scale,
    )
    if error is not None:
        raise RuntimeError(f"golfpipe's attention kernel: {error.decode(errors='replace')}")
    return query, key, value


def _try(kernel: ctypes._FuncPointer) -> None:
    """Run the kernel once. Raises RuntimeError where oneDNN, as the environment has it, lacks the products."""
    x = torch.zeros(1, 1, QUERIES, WIDTH, dtype=torch.bfloat16)
    _gradients(kernel, x, x, x, x, x, torch.zeros(1, 1, QUERIES), None)


def _rows(x: Tensor) -> Tensor:
    """Return x laid out as the kernel needs it: rows in one piece, an even number of values apart, not overlapping."""
    return x if x.stride(3) == 1 and x.stride(2) % 2 == 0 and x.stride(2) >= x.shape[3] else x.contiguous()


def _load(compiler: str, cache: Path) -> ctypes._FuncPointer:
    torch_folder = Path(torch.__file__).parent
    linked = (f"-I{torch_folder / 'include'}", f"-L{torch_folder / 'lib'}", "-ltorch_cpu", "-lc10")
    options = ("-fopenmp", *DEFINITIONS, f"-DTORCH={torch.__version__}", *linked)
    kernel = built_library(SOURCE, options, compiler, cache).attention_backward
    pointer, number = ctypes.c_void_p, ctypes.c_int64
    kernel.argtypes = [*[pointer] * 8, ctypes.POINTER(number), pointer, *[number] * 5, ctypes.c_float]
    kernel.restype = ctypes.c_char_p
    return kernel
