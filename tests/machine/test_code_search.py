"""Machine code for the search of codes: the same codes as the plain search, on any number of threads, or a warning."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import pytest
import torch

from golfpipe.codec.container import encode_payload
from golfpipe.machine.code_search import code_search, own_code_search
from golfpipe.machine.compiling import cpp_compiler
from golfpipe.model.config import ModelConfig, parameter_shapes
from golfpipe.quant import code_search as plain
from golfpipe.quant.code_search import CodeSearch, RateModel, search_scalar_codes
from golfpipe.quant.config import QuantizeConfig
from golfpipe.quant.export import quantize_weights
from golfpipe.quant.hessian import feedback_factor
from golfpipe.quant.quantizer import Target
from golfpipe.quant.trellis_search import COMMIT, LOOK_AHEAD, search_trellis_codes

COMPILER = cpp_compiler() or "g++"
needs_compiler = pytest.mark.skipif(cpp_compiler() is None, reason="no C++ compiler")
SHAPES = [(1, 1), (1, 7), (5, 1), (17, COMMIT), (16, COMMIT + 1), (33, COMMIT + LOOK_AHEAD + 1), (3, 2 * COMMIT + 1)]
UNIVERSE = parameter_shapes(ModelConfig(tied_embeddings=False))
EXPONENTS = [2.0, 1.75, 1.5, 1.25, 1.0, 0.75, 0.5]


@pytest.fixture(scope="module")
def native(tmp_path_factory):
    return code_search(COMPILER, tmp_path_factory.mktemp("kernels"))


def matrix(shape, states, exponent, with_feedback, seed=0):
    generator = torch.Generator().manual_seed(seed)
    (num_rows, width), factor, rate = shape, None, None
    if with_feedback:
        x = torch.randn(2 * width + 3, width, generator=generator)
        x = x @ (torch.eye(width) + torch.randn(width, width, generator=generator) / width**0.5)
        factor = feedback_factor(x.T @ x / len(x), 0.01, by_diagonal=states == 1)
    if exponent:
        classes = [torch.randint(0, 4, (count,), generator=generator).to(torch.uint8) for count in shape]
        rate = RateModel(*classes, torch.rand(7, generator=generator) + 0.3, exponent)
    return CodeSearch(
        w_RC=torch.randn(shape, generator=generator) * 2,
        step_R=torch.rand(num_rows, generator=generator) + 0.5,
        step_C=torch.rand(width, generator=generator) + 0.5,
        factor=factor,
        rate=rate,
        price=0.36 if exponent else 0.0,
        states=states,
    )


def plain_codes(given):
    return search_scalar_codes(given) if given.states == 1 else search_trellis_codes(given)


@needs_compiler
@pytest.mark.parametrize("with_feedback", [False, True])
@pytest.mark.parametrize("states", [1, 4, 8])
def test_codes_are_those_of_the_plain_search(native, states, with_feedback):
    for shape, exponent in itertools.product(SHAPES, [0.0, *EXPONENTS]):
        given = matrix(shape, states, exponent, with_feedback)
        assert torch.equal(native(given), plain_codes(given)), (shape, exponent)


@needs_compiler
@pytest.mark.parametrize("with_feedback", [False, True])
@pytest.mark.parametrize("states", [1, 4, 8])
def test_extreme_weights_get_the_codes_of_the_plain_search(native, states, with_feedback):
    given = matrix((18, 90), states, 1.5, with_feedback)
    rows = torch.arange(18.0)[:, None]
    for w_RC in (
        torch.zeros(18, 90),
        (0.7 * rows).expand(18, 90),
        given.w_RC * 1e6,  # beyond the largest code
        given.w_RC * 1e-30,
        given.w_RC * torch.exp2(4 * rows - 40),
        (given.step_R[:, None] * given.step_C * torch.round(given.w_RC) / 2),  # halves, which are ties
    ):
        found = native(replace(given, w_RC=w_RC))
        assert torch.equal(found, plain_codes(replace(given, w_RC=w_RC)))
        assert found.abs().max() <= 32_000


@needs_compiler
def test_a_grid_has_its_own_bounds(native):
    given = replace(matrix((9, 60), 1, 0.0, True), bounds=(-4, 3))
    found = native(given)
    assert torch.equal(found, plain_codes(given)) and found.min() == -4 and found.max() == 3


@needs_compiler
def test_layout_in_memory_changes_nothing(native):
    given = matrix((20, 30), 8, 1.25, True)
    turned = replace(given, w_RC=given.w_RC.T.contiguous().T, step_R=given.step_R.repeat_interleave(2)[::2])
    assert torch.equal(native(turned), native(given))


@pytest.mark.parametrize("exponent", EXPONENTS)
def test_bits_are_the_power_that_they_stand_for(exponent):
    rate = RateModel(
        torch.zeros(1, dtype=torch.uint8), torch.zeros(1, dtype=torch.uint8), torch.tensor([0.4]), exponent
    )
    point = torch.tensor([0.0, 0.5, -3.5, 200.5])
    expected = [math.pow(abs(y) * float(torch.tensor(0.4)), exponent) for y in point.tolist()]
    assert rate.bits(point, rate.inverse_scale_K).tolist() == pytest.approx(expected, rel=1e-6)


def solved(method):
    generator = torch.Generator().manual_seed(4)
    weights = {f"blocks.{i}.mlp.input.weight": torch.randn(40, 64, generator=generator) for i in range(5)}
    target = Target(5_000, lambda pieces: len(encode_payload({}, pieces.values(), coder="range")))
    config = QuantizeConfig(method=method, target_bytes=5_000)
    pieces = quantize_weights(weights, config, universe=UNIVERSE, target=target).pieces
    return encode_payload({}, pieces.values(), coder="range")


@needs_compiler
@pytest.mark.parametrize("method", ["rate", "trellis"])
def test_a_whole_solution_has_the_same_bytes_with_and_without_on_one_thread_and_on_three(method, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    expected, threads, warnings = solved(method), torch.get_num_threads(), []
    try:
        for count in (1, 3):
            torch.set_num_threads(count)
            with own_code_search("auto", warnings.append):
                assert plain._machine_search is not None
                assert solved(method) == expected
            assert torch.get_num_threads() == count and plain._machine_search is None
    finally:
        torch.set_num_threads(threads)
    assert not warnings and len(list(tmp_path.glob("code_search-*.so"))) == 1


def test_off_is_off_and_a_missing_compiler_is_no_warning(monkeypatch):
    for choice, compiler in (("off", COMPILER), ("auto", "no-such-compiler")):
        monkeypatch.setenv("CXX", compiler)
        with own_code_search(choice, pytest.fail):
            assert plain._machine_search is None


def test_a_compiler_that_fails_is_told_of_and_codes_are_searched_all_the_same(tmp_path, monkeypatch):
    broken, warnings = tmp_path / "g++", []
    broken.write_text("#!/bin/sh\necho code_search.cpp:1: error: no header >&2\nexit 3\n")
    broken.chmod(0o755)
    monkeypatch.setenv("CXX", str(broken))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))
    with own_code_search("auto", warnings.append):
        assert len(solved("rate")) <= 5_000
    (warning,) = warnings
    assert warning.endswith(f"{broken} exits 3: code_search.cpp:1: error: no header")
    assert not list((tmp_path / "cache").iterdir())
