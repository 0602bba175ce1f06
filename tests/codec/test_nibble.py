"""Int4 packing pinned by exact bytes; lzma with bounded output."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from golfpipe.codec.lzma_stream import compress_lzma, decompress_lzma
from golfpipe.codec.nibble import pack_int4, unpack_int4
from golfpipe.errors import ArtifactError


def test_int4_packing_is_pinned():
    codes = np.array([[-8, 7, 0]], dtype=np.int8)  # odd width: one pad nibble
    assert pack_int4(codes).tobytes() == bytes([0x0F, 0x88])
    np.testing.assert_array_equal(unpack_int4(pack_int4(codes), width=3), codes)


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 2**32), rows=st.integers(1, 9), width=st.integers(1, 40))
def test_unpacking_inverts_packing(seed, rows, width):
    codes = np.random.default_rng(seed).integers(-8, 8, size=(rows, width), dtype=np.int8)
    packed = pack_int4(codes)
    assert packed.shape == (rows, (width + 1) // 2) and packed.dtype == np.uint8
    np.testing.assert_array_equal(unpack_int4(packed, width), codes)


def test_wrong_width_and_pad_are_refused():
    with pytest.raises(ArtifactError, match="2 bytes, expected 3 for 5 codes"):
        unpack_int4(np.uint8([[0x0F, 0x88]]), width=5)
    with pytest.raises(ArtifactError, match="pad"):
        unpack_int4(np.uint8([[0x0F, 0x87]]), width=3)


def test_lzma_output_is_bounded_and_exact():
    bomb = compress_lzma(bytes(10_000_000))
    assert len(bomb) < 2000
    with pytest.raises(ArtifactError, match="more than 1000 bytes"):
        decompress_lzma(bomb, max_bytes=1000)
    assert decompress_lzma(compress_lzma(b"abc"), max_bytes=3) == b"abc"
    assert decompress_lzma(compress_lzma(b""), max_bytes=0) == b""


@pytest.mark.parametrize("damage", [lambda s: s[:-1], lambda s: s + b"x", lambda s: b"\xff" + s[1:], lambda s: b""])
def test_damaged_lzma_is_refused(damage):
    with pytest.raises(ArtifactError, match="lzma"):
        decompress_lzma(damage(compress_lzma(b"some text, some text")), max_bytes=100)
