"""The kernel against float64 and against torch's own, what it leaves to torch, and how it is built."""

from __future__ import annotations

import subprocess

import pytest
import torch
import torch.nn.functional as F

from golfpipe.kernels import attention_backward
from golfpipe.kernels.attention_backward import backward_obstacle, own_attention_backward
from golfpipe.stages.compiling import cpp_compiler, own_kernels
from golfpipe.stages.reporter import SilentReporter

COMPILER = cpp_compiler() or "g++"
CPU = torch.device("cpu")
needs_kernel = pytest.mark.skipif(
    cpp_compiler() is None or backward_obstacle() is not None, reason="no C++ compiler, or a processor without bf16"
)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("kernels")


@pytest.fixture
def counted(monkeypatch):
    calls = []
    ours = attention_backward._gradients
    monkeypatch.setattr(attention_backward, "_gradients", lambda *given: calls.append(1) or ours(*given))
    return calls


def heads(batch, query_heads, kv_heads, length, width, seed=0):
    """Queries, keys, values and the outputs' gradient in bf16, as projections leave them."""
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.randn(batch, length, count, width, generator=generator).bfloat16().transpose(1, 2)
        for count in (query_heads, kv_heads, kv_heads, query_heads)
    ]


def gradients(query, key, value, grad, **settings):
    leaves = [x.detach().requires_grad_() for x in (query, key, value)]
    y = F.scaled_dot_product_attention(*leaves, enable_gqa=True, **({"is_causal": True} | settings))
    return torch.autograd.grad(y, leaves, grad.to(y.dtype))


def in_float64(query, key, value, grad, scale):
    """By the formulas: no kernel of anybody's."""
    q, k, v = (x.double().requires_grad_() for x in (query, key, value))
    group = query.shape[1] // key.shape[1]
    scores = q @ k.repeat_interleave(group, 1).mT * scale
    hidden = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
    y = scores.masked_fill(hidden, -torch.inf).softmax(-1) @ v.repeat_interleave(group, 1)
    return torch.autograd.grad(y, (q, k, v), grad.double())


def distance(found, expected):
    return float((found.double() - expected).norm() / expected.norm())


@needs_kernel
@pytest.mark.parametrize("scale", [None, 0.3])
@pytest.mark.parametrize(
    "sizes",
    [(1, 1, 1, 64, 32), (2, 4, 2, 320, 64), (1, 8, 1, 256, 96), (3, 2, 2, 576, 32), (1, 4, 2, 1024, 128)],
    ids=str,
)
def test_gradients_are_nearer_to_float64_than_those_of_torch(cache, sizes, scale):
    given = heads(*sizes)
    expected = in_float64(*given, sizes[-1] ** -0.5 if scale is None else scale)
    theirs = gradients(*given, scale=scale)
    with own_attention_backward(COMPILER, cache):
        ours = gradients(*given, scale=scale)
    for mine, other, exact in zip(ours, theirs, expected, strict=True):
        assert mine.dtype == torch.bfloat16 and mine.stride() == other.stride()
        assert distance(mine, exact) < 1.05 * distance(other, exact) < 0.02


@needs_kernel
def test_the_place_of_values_in_memory_changes_nothing(cache, counted):
    query, key, value, grad = heads(2, 4, 2, 128, 32)
    y, log_sums = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(query, key, value, 0.0, True)
    backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward
    with own_attention_backward(COMPILER, cache):
        expected = backward(grad, query, key, value, y, log_sums, 0.0, True)
        for laid_out in (
            torch.Tensor.contiguous,
            lambda x: x.mT.contiguous().mT,  # rows in pieces
            lambda x: F.pad(x, (0, 1))[..., :-1],  # an odd number of values apart
        ):
            given = [laid_out(x) for x in (grad, query, key, value, y)]
            assert all(map(torch.equal, backward(*given, log_sums.contiguous(), 0.0, True), expected))
        ones = grad.new_ones(()).expand(grad.shape)
        found = [backward(x, query, key, value, y, log_sums, 0.0, True) for x in (ones, ones.contiguous())]
    assert all(map(torch.equal, *found)) and len(counted) == 6


@needs_kernel
def test_nothing_comes_from_later_positions(cache):
    query, key, value, grad = heads(1, 2, 1, 384, 32)
    cut = 300
    with own_attention_backward(COMPILER, cache):
        whole = gradients(query, key, value, grad * (torch.arange(384) < cut)[:, None])
        for x in (query, key, value):
            x[:, :, cut:] = 7.0
        changed = gradients(query, key, value, grad * (torch.arange(384) < cut)[:, None])
    for before, after in zip(whole, changed, strict=True):
        assert torch.equal(before, after) and not before[:, :, cut:].any()


@needs_kernel
def test_gradients_do_not_depend_on_the_threads(cache):
    given, threads = heads(2, 4, 2, 192, 32), torch.get_num_threads()
    found = []
    try:
        with own_attention_backward(COMPILER, cache):
            for count in (1, 2, 3):
                torch.set_num_threads(count)
                found.append(gradients(*given))
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(a, b) for other in found[1:] for a, b in zip(found[0], other, strict=True))


@needs_kernel
@pytest.mark.parametrize(
    ("sizes", "dtype", "settings"),
    [
        ((1, 2, 1, 100, 32), torch.bfloat16, {}),
        ((1, 2, 1, 128, 48), torch.bfloat16, {}),
        ((1, 2, 1, 128, 32), torch.float32, {}),
        ((1, 2, 1, 128, 32), torch.bfloat16, {"is_causal": False}),
        (
            (1, 2, 1, 128, 32),
            torch.bfloat16,
            {"is_causal": False, "attn_mask": torch.ones(128, 128, dtype=torch.bool).tril()},
        ),
    ],
    ids=["length", "width", "fp32", "not causal", "mask"],
)
def test_what_it_cannot_do_is_left_to_torch(cache, counted, sizes, dtype, settings):
    given = [x.to(dtype) for x in heads(*sizes)]
    expected = gradients(*given, **settings)
    with own_attention_backward(COMPILER, cache):
        assert all(map(torch.equal, gradients(*given, **settings), expected))
    assert not counted


@needs_kernel
def test_it_is_in_force_within_alone_and_in_compiled_graphs_too(cache, counted, monkeypatch):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(cache))
    given = heads(1, 2, 1, 128, 32)
    before = gradients(*given)
    compiled = torch.compile(lambda *x: gradients(*x), backend="aot_eager")
    with own_attention_backward(COMPILER, cache):
        ours = gradients(*given)
        assert all(map(torch.equal, compiled(*given), ours)) and len(counted) == 2
    assert not all(map(torch.equal, ours, before))
    assert all(map(torch.equal, gradients(*given), before))
    assert all(map(torch.equal, compiled(*given), before)) and len(counted) == 2


@needs_kernel
def test_it_is_built_once(cache, monkeypatch):
    with own_attention_backward(COMPILER, cache):
        pass
    monkeypatch.setattr(subprocess, "run", None)
    with own_attention_backward(COMPILER, cache):
        pass
    assert [path.suffix for path in cache.glob("attention_backward*")] == [".so"]


@pytest.mark.skipif(backward_obstacle() is not None, reason="a processor without bf16")
def test_a_compiler_that_fails_is_told_of_and_torch_is_used(tmp_path, monkeypatch):
    class Warnings(SilentReporter):
        def warn(self, text):
            warnings.append(text)

    warnings: list[str] = []
    broken = tmp_path / "g++"
    broken.write_text("#!/bin/sh\necho no room >&2\nexit 3\n")
    broken.chmod(0o755)
    monkeypatch.setenv("CXX", str(broken))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))
    given = heads(1, 2, 1, 64, 32)
    expected = gradients(*given)
    with own_kernels(True, CPU, torch.bfloat16, Warnings()):
        assert all(map(torch.equal, gradients(*given), expected))
    assert warnings == [f"torch's own attention backward is used: {broken} exits 3: no room"]


@pytest.mark.parametrize(
    ("compiled", "device", "dtype"),
    [(False, "cpu", torch.bfloat16), (True, "cpu", torch.float32), (True, "cuda", torch.bfloat16)],
    ids=str,
)
def test_nothing_is_built_for_what_would_not_use_it(monkeypatch, compiled, device, dtype):
    monkeypatch.setattr(subprocess, "run", None)
    with own_kernels(compiled, torch.device(device), dtype, SilentReporter()):
        pass


def test_a_processor_without_bf16_is_named(monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    assert backward_obstacle() == "no AVX512-BF16"
