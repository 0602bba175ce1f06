"""Tables: exact total, nearly optimal, compact, and safe to read."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from golfpipe.codec.frequencies import TABLE_TOTAL, entropy_bits, normalize_counts, read_table, write_table
from golfpipe.errors import ArtifactError


def gaussian_counts(bits: int, spread: float, size: int = 200_000) -> np.ndarray:
    half = 1 << (bits - 1)
    codes = np.clip(np.rint(np.random.default_rng(bits).normal(size=size) * spread), -half, half - 1)
    return np.bincount(codes.astype(np.int64) + half, minlength=256)


@settings(deadline=None, max_examples=100)
@given(counts=st.lists(st.one_of(st.just(0), st.integers(0, 10**9)), min_size=256, max_size=256).filter(any))
def test_frequencies_sum_to_4096_keep_what_occurs_and_survive_the_table(counts):
    frequencies = normalize_counts(np.array(counts))
    assert frequencies.sum() == TABLE_TOTAL
    assert ((frequencies > 0) == (np.array(counts) > 0)).all()
    table = write_table(frequencies)
    read, used = read_table(table + b"rest")
    assert used == len(table) <= 481
    np.testing.assert_array_equal(read, frequencies)


@pytest.mark.parametrize(("bits", "spread", "table_bytes"), [(4, 2.6, 22), (6, 10.0, 46), (8, 40.0, 160)])
def test_tables_of_gaussian_codes_are_small_and_cost_little(bits, spread, table_bytes):
    counts = gaussian_counts(bits, spread)
    frequencies = normalize_counts(counts)
    assert len(write_table(frequencies)) <= table_bytes
    present = counts > 0
    coded_bits = -(counts[present] * np.log2(frequencies[present] / TABLE_TOTAL)).sum()
    assert coded_bits / entropy_bits(counts) - 1 < 5e-4


def test_moving_any_unit_does_not_shorten_the_code_noticeably():
    counts = gaussian_counts(6, 10.0)
    frequencies = normalize_counts(counts).astype(float)
    present = np.flatnonzero(counts)
    gain = counts[present] * np.log2((frequencies[present] + 1) / frequencies[present])
    movable = present[frequencies[present] > 1]
    loss = counts[movable] * np.log2(frequencies[movable] / (frequencies[movable] - 1))
    assert gain.max() - loss.min() < 1e-6 * entropy_bits(counts)


def test_golden_tables():
    counts = np.zeros(256, dtype=np.int64)
    counts[3] = 5
    assert write_table(normalize_counts(counts)) == bytes([3, 3])
    counts[5] = 15  # 1024, 0, 3072: k = 10, then 2048 -> 110 0000000000 and -1024 (folded 2047) -> 10 1111111111
    assert write_table(normalize_counts(counts)) == bytes.fromhex("03 05 ac 00 5f f8")


def test_entropy_of_known_counts():
    assert entropy_bits(np.array([0, 8, 8, 0])) == 16.0
    assert entropy_bits(np.array([7])) == entropy_bits(np.array([0, 0])) == 0.0


@settings(deadline=None, max_examples=300)
@given(data=st.binary(max_size=80))
def test_reading_any_bytes_gives_a_table_or_an_artifact_error(data):
    try:
        frequencies, used = read_table(data)
    except ArtifactError:
        return
    assert frequencies.sum() == TABLE_TOTAL and frequencies.min() >= 0 and used <= len(data)


def test_what_fills_the_last_byte_of_a_table_is_zero():
    table = bytes.fromhex("03 05 ac 00 5f f8")  # 29 bits and three that fill the last byte
    read_table(table)
    for filling in range(1, 8):
        with pytest.raises(ArtifactError, match="not filled with zeros"):
            read_table(table[:-1] + bytes([table[-1] | filling]))


@pytest.mark.parametrize("data", ["", "05", "0503", "0305", "0305d0", "0305acffff", "0305a80004", "0304cfffff"])
def test_malformed_tables_are_refused(data):
    with pytest.raises(ArtifactError, match="frequency table"):
        read_table(bytes.fromhex(data))
