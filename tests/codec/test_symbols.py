"""Coded streams: identity, overhead, and refusal of wrong counts."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from golfpipe.codec.frequencies import count_symbols, entropy_bits
from golfpipe.codec.symbols import decode_symbols, encode_symbols
from golfpipe.errors import ArtifactError


@settings(deadline=None, max_examples=80)
@given(seed=st.integers(0, 2**32), size=st.integers(1, 3000), low=st.integers(0, 255), spread=st.integers(0, 255))
def test_decoding_inverts_encoding_and_never_grows_by_more_than_a_byte(seed, size, low, spread):
    symbols = np.random.default_rng(seed).geometric(0.2, size=size) % (min(spread, 255 - low) + 1) + low
    symbols = symbols.astype(np.uint8)
    stream = encode_symbols(symbols)
    assert len(stream) <= size + 1
    np.testing.assert_array_equal(decode_symbols(stream, size), symbols)


def test_streams_longer_than_the_coder_chunk():
    symbols = np.random.default_rng(0).binomial(15, 0.4, size=3 * 65536 + 17).astype(np.uint8)
    stream = encode_symbols(symbols)
    np.testing.assert_array_equal(decode_symbols(stream, len(symbols)), symbols)
    assert len(stream) < entropy_bits(count_symbols(symbols)) / 8 * 1.001


def test_golden_streams():
    assert encode_symbols(np.uint8([9] * 1000)) == bytes([1, 9, 9])
    assert encode_symbols(np.uint8([1, 2])) == bytes([0, 1, 2])
    repeated = np.uint8([0, 0, 0, 1] * 16)
    assert encode_symbols(repeated).hex() == GOLDEN_STREAM
    np.testing.assert_array_equal(decode_symbols(bytes.fromhex(GOLDEN_STREAM), 64), repeated)


GOLDEN_STREAM = "010001ca00005580a46cac5b9a65b10e0000"


@pytest.mark.parametrize("count", [1, 63, 65, 1000])
def test_a_wrong_count_is_refused(count):
    with pytest.raises(ArtifactError):
        decode_symbols(bytes.fromhex(GOLDEN_STREAM), count)
    with pytest.raises(ArtifactError, match="raw stream holds 2 symbols"):
        decode_symbols(bytes([0, 1, 2]), count)


@pytest.mark.parametrize("stream", ["", "02", "0109090a", "01000100", "0100019000000000", "010001900000"])
def test_malformed_streams_are_refused(stream):
    with pytest.raises(ArtifactError):
        decode_symbols(bytes.fromhex(stream), 5)
