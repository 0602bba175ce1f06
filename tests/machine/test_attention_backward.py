"""The kernel against float64 and against torch's own, what it leaves to torch, and how it is built."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from recording_reporter import RecordingReporter

from golfpipe.machine import attention_backward, compiling
from golfpipe.machine.attention_backward import attention_in_force, attention_obstacle, own_attention_backward
from golfpipe.machine.compiling import compiled_passes, cpp_compiler
from golfpipe.reporter import SilentReporter

COMPILER = cpp_compiler() or "g++"
CPU = torch.device("cpu")
needs_kernel = pytest.mark.skipif(
    cpp_compiler() is None or attention_obstacle() is not None, reason="no C++ compiler, or a processor without bf16"
)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("kernels")


@pytest.fixture
def counted(monkeypatch):
    """Calls of the kernel, that of the trial at the beginning left out."""
    calls, ours = [], attention_backward._gradients
    monkeypatch.setattr(attention_backward, "_try", lambda kernel: None)
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
    """Gradients of queries, keys and values."""
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
def test_gradients_are_as_near_to_float64_as_those_of_torch(cache, counted, sizes, scale):
    given = heads(*sizes)
    expected = in_float64(*given, sizes[-1] ** -0.5 if scale is None else scale)
    theirs = gradients(*given, scale=scale)
    with own_attention_backward(COMPILER, cache):
        ours = gradients(*given, scale=scale)
    for mine, other, exact in zip(ours, theirs, expected, strict=True):
        assert mine.dtype == torch.bfloat16 and mine.stride() == other.stride()
        assert distance(mine, exact) < 1.05 * distance(other, exact) < 0.02
    assert len(counted) == 1


@needs_kernel
def test_the_place_of_values_in_memory_changes_nothing(cache, counted):
    query, key, value, grad = heads(2, 4, 2, 128, 32)
    forward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward
    with own_attention_backward(COMPILER, cache):
        y, log_sums = forward(query, key, value, 0.0, True)
        expected = backward(grad, query, key, value, y, log_sums, 0.0, True)
        for laid_out in (
            torch.Tensor.contiguous,
            lambda x: x.mT.contiguous().mT,  # rows in pieces
            lambda x: F.pad(x, (0, 1))[..., :-1],  # an odd number of values apart
            lambda x: F.pad(x, (0, 6))[..., :-6],
        ):
            given = [laid_out(x) for x in (grad, query, key, value, y)]
            found = backward(*given, log_sums.contiguous(), 0.0, True)
            assert all(map(torch.equal, found, expected))
        ones = grad.new_ones(()).expand(grad.shape)
        found = [backward(x, query, key, value, y, log_sums, 0.0, True) for x in (ones, ones.contiguous())]
    assert all(map(torch.equal, *found)) and len(counted) == 1 + 4 + 2


@needs_kernel
def test_nothing_comes_from_later_positions(cache):
    query, key, value, grad = heads(1, 2, 1, 384, 32)
    cut = 300
    grad[:, :, cut:] = 0
    with own_attention_backward(COMPILER, cache):
        before = gradients(query, key, value, grad)
        for x in (query, key, value):
            x[:, :, cut:] = 7.0
        after = gradients(query, key, value, grad)
    for gradient, changed in zip(before, after, strict=True):
        assert torch.equal(gradient, changed) and not gradient[:, :, cut:].any()


@needs_kernel
def test_nothing_depends_on_the_threads(cache):
    given, threads, found = heads(2, 4, 2, 192, 32), torch.get_num_threads(), []
    try:
        with own_attention_backward(COMPILER, cache):
            for count in (1, 2, 3, 5):
                torch.set_num_threads(count)
                found.append(gradients(*given))
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(a, b) for other in found[1:] for a, b in zip(found[0], other, strict=True))


@needs_kernel
@pytest.mark.parametrize("which", [0, 1, 2], ids=["query", "key", "value"])
@pytest.mark.parametrize("broken", [torch.nan, torch.inf])
def test_what_is_not_finite_shows(cache, which, broken):
    """Training and scoring tell a broken model by it."""
    given = heads(1, 2, 1, 128, 32)
    given[which][0, 0, 70, 3] = broken
    with own_attention_backward(COMPILER, cache):
        changes = gradients(*given)
    assert not all(change.isfinite().all() for change in changes)


@needs_kernel
@pytest.mark.parametrize(
    ("sizes", "dtype", "settings"),
    [
        ((1, 2, 1, 100, 32), torch.bfloat16, {}),
        ((1, 2, 1, 128, 48), torch.bfloat16, {}),
        ((1, 2, 1, 128, 32), torch.float32, {}),
        ((1, 2, 1, 128, 32), torch.bfloat16, {"is_causal": False}),
        ((1, 2, 1, 128, 32), torch.bfloat16, {"scale": -0.1}),
        (
            (1, 2, 1, 128, 32),
            torch.bfloat16,
            {"is_causal": False, "attn_mask": torch.ones(128, 128, dtype=torch.bool).tril()},
        ),
    ],
    ids=["length", "width", "fp32", "not causal", "scale", "mask"],
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
        assert all(map(torch.equal, compiled(*given), ours))
    assert len(counted) == 2
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
    assert [path.suffix for path in cache.glob("attention_backward-*")] == [".so"]


@needs_kernel
def test_a_compiler_that_fails_is_told_of_and_torch_is_used(tmp_path, monkeypatch):
    broken, reporter = tmp_path / "g++", RecordingReporter()
    broken.write_text("#!/bin/sh\necho attention_backward.cpp:1: error: no header >&2\necho stopped >&2\nexit 3\n")
    broken.chmod(0o755)
    monkeypatch.setenv("CXX", str(broken))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))
    given = heads(1, 2, 1, 64, 32)
    expected = gradients(*given)
    with compiled_passes(True, CPU, torch.bfloat16, reporter):
        assert all(map(torch.equal, gradients(*given), expected)) and not attention_in_force()
    assert reporter.warnings == [
        f"torch's own attention backward is used: {broken} exits 3: attention_backward.cpp:1: error: no header"
    ]
    assert not list((tmp_path / "cache").iterdir())


@needs_kernel
def test_a_file_that_is_no_library_is_told_of(cache, tmp_path, monkeypatch):
    reporter = RecordingReporter()
    with own_attention_backward(COMPILER, cache):
        assert attention_in_force()
    (built,) = cache.glob("attention_backward-*.so")
    (tmp_path / built.name).write_bytes(b"no library")
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("CXX", COMPILER)
    with compiled_passes(True, CPU, torch.bfloat16, reporter):
        assert not attention_in_force()
    (warning,) = reporter.warnings
    assert warning.startswith(f"torch's own attention backward is used: {tmp_path / built.name}: ")


@needs_kernel
def test_products_that_onednn_does_not_offer_are_told_of(cache):
    """As a process of its own, for oneDNN reads the environment once. Nothing else would survive a throw, either."""
    code = (
        "import torch\nfrom pathlib import Path\n"
        "from golfpipe.machine.attention_backward import own_attention_backward\n"
        f"try:\n    with own_attention_backward({COMPILER!r}, Path({str(cache)!r})):\n        print('in force')\n"
        "except RuntimeError as error:\n    print(error)\n"
    )
    environment = {**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("golfpipe's attention kernel: ")


@pytest.mark.parametrize(
    ("compiled", "device", "dtype"),
    [(False, "cpu", torch.bfloat16), (True, "cpu", torch.float32), (True, "cuda", torch.bfloat16)],
    ids=str,
)
def test_nothing_is_built_for_what_would_not_use_it(monkeypatch, compiled, device, dtype):
    monkeypatch.setattr(compiling, "attention_obstacle", lambda: None)
    monkeypatch.setattr(compiling, "cpp_compiler", lambda: "g++")
    monkeypatch.setattr(compiling, "own_attention_backward", None)
    with compiled_passes(compiled, torch.device(device), dtype, SilentReporter()):
        assert not attention_in_force()
    with pytest.raises(TypeError), compiled_passes(True, CPU, torch.bfloat16, SilentReporter()):
        pass


def test_what_stands_against_it_is_named(monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    monkeypatch.setattr(sys, "platform", "linux")
    assert attention_obstacle() == "no AVX512-BF16"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert attention_obstacle() == "not on darwin"
