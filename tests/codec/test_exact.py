"""Numbers bit by bit: every width, patterns that only LZMA sees, and damaged streams."""

import numpy as np
import pytest

from golfpipe.codec.container import decode_payload, encode_payload, read_header
from golfpipe.codec.formats import format_of, ideal_bytes
from golfpipe.codec.pieces import EXACT_DTYPES, Piece
from golfpipe.errors import ArtifactError


def exact_piece(values: np.ndarray) -> Piece:
    bits = next(bits for bits, dtype in EXACT_DTYPES.items() if values.dtype == dtype)
    return Piece(name="t", shape=values.shape, bits=bits, raw=values)


@pytest.mark.parametrize("bits", EXACT_DTYPES)
@pytest.mark.parametrize("coder", ["range", "nibble"])
def test_any_bits_come_back(bits, coder):
    rng, dtype = np.random.default_rng(bits), EXACT_DTYPES[bits]
    for values in (
        rng.integers(0, np.iinfo(dtype).max, (7, 30), dtype=dtype, endpoint=True),
        np.arange(3000).astype(dtype),
        np.zeros(1, dtype),
        rng.integers(0, 3, 500).astype(dtype),
    ):
        payload = encode_payload({}, [exact_piece(values)], coder=coder)
        decoded = decode_payload(payload)[1]["t"]
        assert decoded.raw.dtype == dtype and np.array_equal(decoded.raw, values)
        assert np.array_equal(format_of(bits).weights(decoded), values)


def test_counters_and_masks_cost_little_and_noise_nothing_above_its_bits():
    sizes = {}
    for name, values in {
        "counter": np.arange(8192, dtype=np.uint64),
        "mask": np.tril(np.ones((128, 128), np.uint32)),
        "noise": np.random.default_rng(0).integers(0, 1 << 32, 5000, dtype=np.uint32),
        "skewed": np.random.default_rng(0).geometric(0.5, 20_000).astype(np.uint8),
    }.items():
        piece = exact_piece(values)
        payload = encode_payload({}, [piece], coder="range")
        sizes[name] = read_header(payload).piece_bytes["t"] / values.size
        assert sizes[name] * values.size < ideal_bytes(piece) * 1.01 + 60
    assert sizes["counter"] < 0.1 and sizes["mask"] < 0.1 and sizes["noise"] < 4.01 and sizes["skewed"] < 0.26


def test_damaged_streams_are_refused():
    coded = format_of(132).encode(exact_piece(np.arange(500, dtype=np.uint32)))
    assert [stream[0] for stream in coded[:2]] == [2, 2]  # LZMA
    for broken in (b"", b"\x02", coded[0][:-1], coded[0] + b"\0", b"\x07" + coded[0][1:], b"\x00" + coded[0][1:]):
        with pytest.raises(ArtifactError):
            format_of(132).decode([broken, *coded[1:]], (500,), 132)
    with pytest.raises(ArtifactError):
        format_of(132).decode(coded, (499,), 132)
    with pytest.raises(ArtifactError):
        format_of(132).decode(coded, (1 << 30,), 132)
