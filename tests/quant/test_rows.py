"""The three functions against numpy in float64, then bit identity of the training and the export path."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from golfpipe.quant.rows import as_rows, dequantize, fake_quantize, quantize, row_absmax, row_scale


def test_scale_is_absmax_times_ratio_over_q_max():
    w_RC = torch.tensor([[0.5, -1.75], [0.0, 0.0]])
    scale_R1 = row_scale(row_absmax(w_RC), 0.8, bits=4)
    assert scale_R1.dtype == torch.float16
    np.testing.assert_array_equal(scale_R1.numpy(), np.float16([[1.75 * 0.8 / 7], [0.0]]))


def test_halves_round_to_even_and_codes_clamp_to_the_asymmetric_grid():
    w_RC = torch.tensor([[0.5, 1.5, 2.5, -0.5, -1.5, 7.5, 9.0, -8.4, -99.0]])
    codes_RC = quantize(w_RC, torch.ones(1, 1, dtype=torch.float16), bits=4)
    assert codes_RC.dtype == torch.int8
    assert codes_RC.tolist() == [[0, 2, 2, 0, -2, 7, 7, -8, -8]]


def test_a_zero_scale_gives_zero_codes_whatever_the_weights():
    codes_RC = quantize(torch.tensor([[3.0, -1e-9, 0.0]]), torch.zeros(1, 1, dtype=torch.float16), bits=6)
    assert codes_RC.tolist() == [[0, 0, 0]]


@pytest.mark.parametrize("bits", range(2, 9))
def test_quantize_matches_numpy_float64(bits):
    w_RC = torch.randn(64, 48, generator=torch.Generator().manual_seed(bits))
    scale_R1 = row_scale(row_absmax(w_RC), 0.9, bits)
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    exact = w_RC.double().numpy() / scale_R1.double().numpy()
    expected = np.clip(np.rint(exact), low, high)
    near_half = np.abs(np.abs(exact - np.floor(exact)) - 0.5) < 1e-5
    codes = quantize(w_RC, scale_R1, bits).numpy()
    assert near_half.mean() < 0.01
    np.testing.assert_array_equal(codes[~near_half], expected[~near_half])


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 2**32), bits=st.integers(2, 8), ratio=st.floats(0.05, 1.0), dead=st.booleans())
def test_fake_quantize_is_bit_identical_to_the_round_trip(seed, bits, ratio, dead):
    w_RC = torch.randn(7, 33, generator=torch.Generator().manual_seed(seed)) * 10.0 ** (seed % 7 - 4)
    w_RC[2] *= 0.0 if dead else 1e-6
    scale_R1 = row_scale(row_absmax(w_RC), ratio, bits)
    round_trip = dequantize(quantize(w_RC, scale_R1, bits), scale_R1)
    fake = fake_quantize(w_RC, scale_R1, bits)
    assert torch.equal(fake.view(torch.int32), round_trip.view(torch.int32))
    # A second trip changes nothing: codes are fixed points.
    assert torch.equal(quantize(fake, scale_R1, bits), quantize(w_RC, scale_R1, bits))


def test_vectors_and_scalars_are_one_row():
    assert as_rows(torch.zeros(8)).shape == (1, 8)
    assert as_rows(torch.tensor(2.0)).shape == (1, 1)
    assert as_rows(torch.zeros(3, 4, 5, dtype=torch.bfloat16)).shape == (3, 20)
