"""Open-ended codes: identity, cost against entropy, pinned bytes, refusal of damage."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from golfpipe.codec.code_shapes import (
    EXPONENTS,
    MAX_LOG_SCALE,
    MIN_LOG_SCALE,
    SHAPE_TOTAL,
    exact_exp2,
    exact_power,
    fit_shapes,
    shape_frequencies,
)
from golfpipe.codec.open_codes import ideal_open_bits, open_piece_to_streams, streams_to_open_codes
from golfpipe.codec.pieces import Piece
from golfpipe.codec.scale_classes import plan_classes
from golfpipe.errors import ArtifactError


def spread_piece(shape: tuple[int, int], bits: int = 0, *, rows: float = 0.0, columns: float = 0.0, seed: int = 0):
    rng = np.random.default_rng(seed)
    scale = 2.0 * np.exp(rows * rng.normal(size=(shape[0], 1)) + columns * rng.normal(size=(1, shape[1])))
    codes = np.rint(rng.normal(size=shape) * scale).astype(np.int16)
    return Piece(name="w", shape=shape, bits=bits, codes=codes, scales=np.full(sum(shape), -700, np.int16)), scale


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 2**32), rows=st.integers(1, 9), width=st.integers(1, 40), spread=st.floats(0, 9000),
    bits=st.sampled_from([0, -4, -8]),
)  # fmt: skip
def test_decoding_inverts_encoding_whatever_the_codes(seed, rows, width, spread, bits):
    rng = np.random.default_rng(seed)
    codes = np.rint(rng.standard_t(2, size=(rows, width)) * spread).clip(-32000, 32000).astype(np.int16)
    steps = rng.integers(-12288, 12289, rows + width).astype(np.int16)
    piece = Piece(name="w", shape=(rows, width), bits=bits, codes=codes, scales=steps)
    decoded, log_steps = streams_to_open_codes(open_piece_to_streams(piece), piece.shape, bits)
    np.testing.assert_array_equal(decoded, codes)
    np.testing.assert_array_equal(log_steps, steps)


@pytest.mark.parametrize("spread", [(0.0, 0.0), (0.4, 0.0), (0.3, 0.3)])
def test_unequal_rows_and_columns_cost_what_their_own_entropy_says(spread):
    piece, scale = spread_piece((1024, 512), rows=spread[0], columns=spread[1])
    coded = 8 * sum(map(len, open_piece_to_streams(piece)))
    # A rounded Gaussian has nearly the entropy of the Gaussian with 1/12 more variance.
    bound = (0.5 * np.log2(2 * np.pi * np.e * (np.broadcast_to(scale, piece.shape) ** 2 + 1 / 12))).sum()
    assert coded < bound * 1.004 + 5 * 1536 * (spread != (0.0, 0.0))
    assert coded < 1.002 * ideal_open_bits(piece) + 8 * 1536


def test_equal_rows_get_no_classes():
    classes = plan_classes(spread_piece((64, 512))[0].codes, 0.0)
    assert len(classes.log_scale_K) == 1 and not classes.row_R.any() and not classes.column_C.any()


@pytest.mark.parametrize("exponent", range(len(EXPONENTS)))
def test_tables_sum_and_follow_the_formula(exponent):
    for log_scale in (MIN_LOG_SCALE, 0, 17, 40, MAX_LOG_SCALE):
        frequencies = shape_frequencies(log_scale, exponent, 0.25)
        assert frequencies.sum() == SHAPE_TOTAL and frequencies.min() >= 1 and len(frequencies) % 2 == 1
    frequencies, half = shape_frequencies(17, exponent, 0.0), len(shape_frequencies(17, exponent, 0.0)) // 2
    points = np.arange(-half, half + 1)[:, None] + (np.arange(8) - 3.5) / 8
    density = 2.0 ** -((np.abs(points) / 2 ** (17 / 8)) ** EXPONENTS[exponent])
    np.testing.assert_allclose(frequencies / SHAPE_TOTAL, density.sum(1) / density.sum(), atol=2e-3)


def test_exact_functions_agree_with_the_library():
    x = np.linspace(0, 30, 1001)
    np.testing.assert_allclose(exact_exp2(-x), np.exp2(-x), rtol=1e-12)
    for exponent in EXPONENTS:
        np.testing.assert_allclose(exact_power(x, exponent), x**exponent, rtol=1e-13)


@pytest.mark.parametrize("std", [0.4, 1.0, 3.0, 40.0])
def test_a_table_of_the_family_costs_within_a_thousandth_of_the_entropy(std):
    codes = np.rint(np.random.default_rng(1).normal(size=400_000) * std).astype(int)
    counts = np.bincount(codes + 300, minlength=601)
    share = counts[counts > 0] / counts.sum()
    _, exponent, bits = fit_shapes(counts[None], 0.0)
    assert EXPONENTS[exponent] >= 1.5
    assert bits.sum() / counts.sum() < -(share * np.log2(share)).sum() * 1.001 + 1e-3


def test_streams_are_pinned():
    codes = np.int16([[0, 1, -1, 2], [0, 0, 5, 0], [-3, 0, 1, 0]])
    piece = Piece(name="w", shape=(3, 4), bits=0, codes=codes, scales=np.int16([-768, -768, -768, 0, 32, 0, -32]))
    streams = open_piece_to_streams(piece)
    assert [stream.hex() for stream in streams] == PINNED
    decoded, steps = streams_to_open_codes([bytes.fromhex(part) for part in PINNED], (3, 4), 0)
    np.testing.assert_array_equal(decoded, codes)
    np.testing.assert_array_equal(steps, piece.scales)


# header: constant row steps -768; column steps 0 + 32 times a symbol; no classes; one table; its exponent.
PINNED = ["0000fd20000000fd00000000000000e4ff06", "c31a660765f6812f", ""]


def test_arrays_that_fit_no_computed_table_get_a_written_one():
    rng = np.random.default_rng(0)
    steps = np.concatenate([rng.choice([-640, -512, 64, 1024], 2000, p=[0.4, 0.1, 0.4, 0.1]), np.zeros(4)])
    piece = Piece(name="w", shape=(2000, 4), bits=0, codes=np.zeros((2000, 4), np.int16), scales=steps.astype(np.int16))
    streams = open_piece_to_streams(piece)
    share = np.array([0.4, 0.1, 0.4, 0.1])
    assert 8 * sum(map(len, streams)) < 2000 * -(share * np.log2(share)).sum() * 1.02 + 500
    decoded, log_steps = streams_to_open_codes(streams, piece.shape, 0)
    np.testing.assert_array_equal(log_steps, piece.scales)
    assert not decoded.any()
    header = streams[0]
    assert header[:4] == bytes((64, 128, 253, 255)), "unit 64 from -640 on, then the table"
    with pytest.raises(ArtifactError, match="single number"):
        streams_to_open_codes([header[:4] + b"\0\0" + header[4:], *streams[1:]], piece.shape, 0)


def test_hostile_streams_decode_or_raise_artifact_error():
    piece, rng = spread_piece((20, 30), rows=0.5)[0], random.Random(0)
    streams, refused = open_piece_to_streams(piece), 0
    for _ in range(600):
        hostile = [bytearray(stream) for stream in streams]
        target = hostile[rng.choice((0, 0, 1))]
        for _ in range(rng.choice((1, 2, 6))):
            target[rng.randrange(len(target))] = rng.randrange(256)
        try:
            codes, steps = streams_to_open_codes([bytes(stream) for stream in hostile], piece.shape, 0)
            Piece(name="w", shape=piece.shape, bits=0, codes=codes, scales=steps)
        except ArtifactError:
            refused += 1
    assert refused > 500


@pytest.mark.parametrize(
    "change",
    [
        lambda s: [s[0][:-1], s[1], s[2]],
        lambda s: [s[0] + b"\0", s[1], s[2]],
        lambda s: [s[0], s[1][:-1], s[2]],
        lambda s: [s[0], s[1][:-4], s[2]],
        lambda s: [s[0], s[1] + bytes(4), s[2]],
        lambda s: [s[0], s[1], s[2] + b"\1\0"],
        lambda s: [s[0], b"", s[2]],
    ],
)
def test_cut_and_extended_streams_are_refused(change):
    streams = open_piece_to_streams(spread_piece((20, 30))[0])
    with pytest.raises(ArtifactError):
        streams_to_open_codes(change(streams), (20, 30), 0)
