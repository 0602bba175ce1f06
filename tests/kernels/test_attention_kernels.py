"""The kernels against float64 and against torch's own, what they leave to torch, and how they are built."""

from __future__ import annotations

import subprocess

import pytest
import torch
import torch.nn.functional as F

from golfpipe.kernels import attention
from golfpipe.kernels.attention import attention_obstacle, own_attention
from golfpipe.stages.compiling import cpp_compiler, own_kernels
from golfpipe.stages.reporter import SilentReporter

COMPILER = cpp_compiler() or "g++"
KERNELS = ["_outputs", "_gradients"] if torch.cpu._is_amx_tile_supported() else ["_gradients"]
"""Those that are in force on this machine."""
CPU = torch.device("cpu")
needs_kernels = pytest.mark.skipif(
    cpp_compiler() is None or attention_obstacle() is not None, reason="no C++ compiler, or a processor without bf16"
)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("kernels")


@pytest.fixture(autouse=True)
def one_thread():
    """The kernels leave to torch what has fewer heads of keys than there are threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def counted(monkeypatch):
    """The names of the kernels' calls."""
    calls = []

    def count(name):
        ours = getattr(attention, name)
        monkeypatch.setattr(attention, name, lambda *given: calls.append(name) or ours(*given))

    count("_outputs")
    count("_gradients")
    return calls


def heads(batch, query_heads, kv_heads, length, width, seed=0):
    """Queries, keys, values and the outputs' gradient in bf16, as projections leave them."""
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.randn(batch, length, count, width, generator=generator).bfloat16().transpose(1, 2)
        for count in (query_heads, kv_heads, kv_heads, query_heads)
    ]


def attend(query, key, value, grad, **settings):
    """Outputs and the gradients of queries, keys and values."""
    leaves = [x.detach().requires_grad_() for x in (query, key, value)]
    y = F.scaled_dot_product_attention(*leaves, enable_gqa=True, **({"is_causal": True} | settings))
    return y.detach(), *torch.autograd.grad(y, leaves, grad.to(y.dtype))


def in_float64(query, key, value, grad, scale):
    """By the formulas: no kernel of anybody's."""
    q, k, v = (x.double().requires_grad_() for x in (query, key, value))
    group = query.shape[1] // key.shape[1]
    scores = q @ k.repeat_interleave(group, 1).mT * scale
    hidden = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
    y = scores.masked_fill(hidden, -torch.inf).softmax(-1) @ v.repeat_interleave(group, 1)
    return y.detach(), *torch.autograd.grad(y, (q, k, v), grad.double())


def distance(found, expected):
    return float((found.double() - expected).norm() / expected.norm())


@needs_kernels
@pytest.mark.parametrize("scale", [None, 0.3])
@pytest.mark.parametrize(
    "sizes",
    [(1, 1, 1, 64, 32), (2, 4, 2, 320, 64), (1, 8, 1, 256, 96), (3, 2, 2, 576, 32), (1, 4, 2, 1024, 128)],
    ids=str,
)
def test_outputs_and_gradients_are_as_near_to_float64_as_those_of_torch(cache, counted, sizes, scale):
    given = heads(*sizes)
    expected = in_float64(*given, sizes[-1] ** -0.5 if scale is None else scale)
    theirs = attend(*given, scale=scale)
    with own_attention(COMPILER, cache):
        ours = attend(*given, scale=scale)
    for mine, other, exact in zip(ours, theirs, expected, strict=True):
        assert mine.dtype == torch.bfloat16 and mine.stride() == other.stride()
        assert distance(mine, exact) < 1.05 * distance(other, exact) < 0.02
    assert counted == KERNELS


@needs_kernels
def test_the_place_of_values_in_memory_changes_nothing(cache, counted):
    query, key, value, grad = heads(2, 4, 2, 128, 32)
    forward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward
    with own_attention(COMPILER, cache):
        y, log_sums = forward(query, key, value, 0.0, True)
        expected = backward(grad, query, key, value, y, log_sums, 0.0, True)
        for laid_out in (
            torch.Tensor.contiguous,
            lambda x: x.mT.contiguous().mT,  # rows in pieces
            lambda x: F.pad(x, (0, 1))[..., :-1],  # an odd number of values apart
        ):
            given = [laid_out(x) for x in (query, key, value)]
            assert all(map(torch.equal, forward(*given, 0.0, True), (y, log_sums)))
            found = backward(laid_out(grad), *given, laid_out(y), log_sums.contiguous(), 0.0, True)
            assert all(map(torch.equal, found, expected))
        ones = grad.new_ones(()).expand(grad.shape)
        found = [backward(x, query, key, value, y, log_sums, 0.0, True) for x in (ones, ones.contiguous())]
    assert all(map(torch.equal, *found)) and counted.count("_gradients") == 6


@needs_kernels
def test_nothing_comes_from_later_positions(cache):
    query, key, value, grad = heads(1, 2, 1, 384, 32)
    cut = 300
    grad[:, :, cut:] = 0
    with own_attention(COMPILER, cache):
        y, *before = attend(query, key, value, grad)
        for x in (query, key, value):
            x[:, :, cut:] = 7.0
        changed_y, *after = attend(query, key, value, grad)
    assert torch.equal(y[:, :, :cut], changed_y[:, :, :cut]) and not torch.equal(y, changed_y)
    for gradient, changed in zip(before, after, strict=True):
        assert torch.equal(gradient, changed) and not gradient[:, :, cut:].any()


@needs_kernels
def test_nothing_depends_on_the_threads(cache, counted):
    given, found = heads(2, 4, 2, 192, 32), []
    with own_attention(COMPILER, cache):
        for threads in (1, 2, 3, 5):
            torch.set_num_threads(threads)
            found.append(attend(*given))
    assert len(counted) == 3 * len(KERNELS)  # five threads are more than the four heads of keys
    found.pop()
    assert all(torch.equal(a, b) for other in found[1:] for a, b in zip(found[0], other, strict=True))


@needs_kernels
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
    expected = attend(*given, **settings)
    with own_attention(COMPILER, cache):
        assert all(map(torch.equal, attend(*given, **settings), expected))
    assert not counted


@needs_kernels
def test_it_is_in_force_within_alone_and_in_compiled_graphs_too(cache, counted, monkeypatch):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(cache))
    given = heads(1, 2, 1, 128, 32)
    before = attend(*given)
    compiled = torch.compile(lambda *x: attend(*x), backend="aot_eager")
    with own_attention(COMPILER, cache):
        ours = attend(*given)
        assert all(map(torch.equal, compiled(*given), ours))
    assert counted == KERNELS * 2
    assert not all(map(torch.equal, ours, before))
    assert all(map(torch.equal, attend(*given), before))
    assert all(map(torch.equal, compiled(*given), before)) and len(counted) == 2 * len(KERNELS)


@needs_kernels
def test_without_tiles_the_forward_pass_is_that_of_torch(cache, counted, monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    given = heads(1, 2, 1, 128, 32)
    with own_attention(COMPILER, cache):
        attend(*given)
    assert counted == ["_gradients"]


@needs_kernels
def test_it_is_built_once(cache, monkeypatch):
    with own_attention(COMPILER, cache):
        pass
    monkeypatch.setattr(subprocess, "run", None)
    with own_attention(COMPILER, cache):
        pass
    assert [path.suffix for path in cache.glob("attention-*")] == [".so"]


@pytest.mark.skipif(attention_obstacle() is not None, reason="a processor without bf16")
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
    expected = attend(*given)
    with own_kernels(True, CPU, torch.bfloat16, Warnings()):
        assert all(map(torch.equal, attend(*given), expected))
    assert warnings == [f"torch's own attention is used: {broken} exits 3: no room"]


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
    assert attention_obstacle() == "no AVX512-BF16"
