"""Trellis-coded quantization: the code by its definition, the search against brute force, the bound, the feedback."""

import itertools
import math
from functools import partial

import numpy as np
import pytest
import torch

from golfpipe.codec.pieces import Piece
from golfpipe.codec.range_coder import CODER
from golfpipe.codec.trellis_code import trellis_points
from golfpipe.quant.code_search import CodeSearch
from golfpipe.quant.dequantize import dequantize_piece
from golfpipe.quant.hessian import feedback_factor
from golfpipe.quant.open_tensor import OpenTensor, scalar_piece
from golfpipe.quant.sensitivity import Sensitivity, flat_sensitivity
from golfpipe.quant.trellis_piece import trellis_gain, trellis_piece
from golfpipe.quant.trellis_search import search_trellis_codes


def unit_steps(w_RC: torch.Tensor, states: int) -> CodeSearch:
    """A search of weights in steps, without feedback or price."""
    ones_R, ones_C = torch.ones(len(w_RC)), torch.ones(w_RC.shape[1])
    return CodeSearch(w_RC=w_RC, step_R=ones_R, step_C=ones_C, factor=None, rate=None, states=states)


def points_by_definition(codes: list[int], states: int) -> list[float]:
    memory = states.bit_length() - 1
    bits, points = [0] * memory, []
    for code in codes:
        points.append((2 * code + 0.5) * (-1 if bits[-1] else 1))
        bits.append((code + sum(bits[-memory:])) % 2)
    return points


@pytest.mark.parametrize("states", [4, 8])
def test_points_follow_the_definition(states):
    codes = np.random.default_rng(0).integers(-9, 9, (6, 41)).astype(np.int16)
    expected = [points_by_definition(row.tolist(), states) for row in codes]
    np.testing.assert_array_equal(trellis_points(codes, states), np.float32(expected))


@pytest.mark.parametrize("states", [4, 8])
def test_the_search_finds_the_nearest_sequence(states):
    w_RC = torch.randn(3, 5, generator=torch.Generator().manual_seed(1)) * 2
    found_RC = search_trellis_codes(unit_steps(w_RC, states))
    for row in range(3):
        error = ((trellis_points(found_RC.numpy(), states)[row] - w_RC[row].numpy()) ** 2).sum()
        best = min(
            sum(
                (a - b) ** 2 for a, b in zip(points_by_definition(list(codes), states), w_RC[row].tolist(), strict=True)
            )
            for codes in itertools.product(range(-3, 4), repeat=5)
        )
        assert error == pytest.approx(best, rel=1e-5)


@pytest.mark.parametrize(("bits", "states"), [(2, 4), (2, 8), (3, 8), (4, 4), (4, 8)])
def test_gaussian_weights_are_within_a_tenth_of_a_bit_of_the_bound(bits, states):
    w_RC = torch.randn(512, 256, generator=torch.Generator().manual_seed(2))
    tensor = OpenTensor("w", (512, 256), w_RC, flat_sensitivity(w_RC), False)
    piece = trellis_piece(tensor, tensor.level_of_step(4.13 * 2.0**-bits), 1.0, states=states)
    assert piece.bits == -states
    coded = 8 * sum(map(len, CODER.encode(piece))) / w_RC.numel()
    error = float((dequantize_piece(piece) - w_RC).square().mean() / w_RC.square().mean())
    assert coded == pytest.approx(bits, abs=0.12)
    assert coded - 0.5 * math.log2(1 / error) < (0.105 if states == 4 else 0.095)


def correlated_moments(width: int) -> torch.Tensor:
    x = torch.randn(4 * width, width, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    mix = torch.randn(width, width, generator=torch.Generator().manual_seed(4), dtype=torch.float64) / width**0.5
    x = x @ (torch.eye(width, dtype=torch.float64) + 2 * mix)
    return x.T @ x / len(x)


@pytest.mark.parametrize("states", [1, 4, 8])
def test_error_feedback_lowers_what_the_errors_cost(states):
    moments = correlated_moments(160)
    w_RC = torch.randn(96, 160, generator=torch.Generator().manual_seed(5))
    costs = []
    for with_feedback in (False, True):
        factor = feedback_factor(moments, 0.001, by_diagonal=False) if with_feedback else None
        sensitivity = Sensitivity(np.ones(96), np.ones(160), factor)
        tensor = OpenTensor("w", (96, 160), w_RC, sensitivity, False)
        piece = trellis_piece(tensor, -1.0, 1.0, states=states) if states > 1 else scalar_piece(tensor, -1.0, 1.0)
        error = (dequantize_piece(piece) - w_RC).double()
        costs.append(float(((error @ moments) * error).sum()))
    assert costs[1] < 0.6 * costs[0]


def test_weights_far_below_the_step_fall_back_to_the_scalar_quantizer():
    w_RC = torch.randn(64, 64, generator=torch.Generator().manual_seed(6))
    tensor = OpenTensor("w", (64, 64), w_RC, flat_sensitivity(w_RC), False)
    assert trellis_piece(tensor, tensor.level_of_step(0.5), 1.0, states=8).bits == -8
    coarse = trellis_piece(tensor, tensor.level_of_step(8.0), 1.0, states=8)
    assert coarse.bits == 0 and not coarse.codes.any()


def test_a_trellis_that_gains_next_to_nothing_is_not_taken():
    w_RC = torch.randn(64, 64, generator=torch.Generator().manual_seed(6))
    tensor = OpenTensor("w", (64, 64), w_RC, flat_sensitivity(w_RC), False)
    for step, bits in ((2.0, -8), (2.5, 0)):  # gains of 0.026 and 0.0065
        level = tensor.level_of_step(step)
        assert trellis_gain(w_RC, tensor.log_steps(level)) > 0
        assert trellis_piece(tensor, level, 1.0, states=8).bits == bits


def test_a_trellis_piece_round_trips_through_the_container():
    codes = np.random.default_rng(7).integers(-3, 3, (4, 9)).astype(np.int16)
    piece = Piece(name="w", shape=(4, 9), bits=-4, codes=codes, scales=np.full(13, -256, np.int16))
    np.testing.assert_array_equal(dequantize_piece(piece).numpy(), trellis_points(codes, 4) * np.float32(0.25))


@pytest.mark.parametrize("piece_at", [scalar_piece, partial(trellis_piece, states=8)])
def test_no_sensitivity_makes_codes_leave_their_range(piece_at):
    w_RC = torch.randn(40, 60, generator=torch.Generator().manual_seed(8)) * torch.logspace(-3, 1, 40)[:, None]
    wild = Sensitivity(np.logspace(-30, 30, 40), np.logspace(20, -20, 60), None)
    tensor = OpenTensor("w", (40, 60), w_RC, wild, True)
    for level in (-200.0, 0.0):
        piece = piece_at(tensor, level, 1.0)
        assert np.abs(piece.codes).max() <= 30_001
    piece = piece_at(tensor, -200.0, 1.0)
    assert float((dequantize_piece(piece) - w_RC).square().mean() / w_RC.square().mean()) < 1e-3


def test_rows_in_parts_give_the_same_codes(monkeypatch):
    given = unit_steps(torch.randn(25, 30, generator=torch.Generator().manual_seed(9)) * 2, 8)
    whole = search_trellis_codes(given)
    monkeypatch.setattr("golfpipe.quant.code_search._ROWS_AT_ONCE", 7)
    assert torch.equal(whole, search_trellis_codes(given))
