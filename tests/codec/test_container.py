"""The payload: identity, pinned bytes, exact accounting, overhead, and hostile input."""

import hashlib
import json
import random

import numpy as np
import pytest

from golfpipe.codec.container import (
    MAX_HEADER_BYTES,
    PAYLOAD_MAGIC,
    decode_payload,
    encode_payload,
    max_payload_values,
    read_header,
)
from golfpipe.codec.formats import ideal_bytes
from golfpipe.codec.nibble import compress_lzma
from golfpipe.codec.pieces import Piece, code_bounds, row_layout
from golfpipe.errors import ArtifactError

MODEL = {"num_layers": 2, "rope_fraction": 0.25, "kv_sharing": {"last": 1}}


def code_piece(name: str, shape: tuple[int, int], bits: int, seed: int, spread: float) -> Piece:
    rng, (low, high) = np.random.default_rng(seed), code_bounds(bits)
    codes = np.clip(np.rint(rng.standard_normal(shape, dtype=np.float32) * spread), low, high).astype(np.int8)
    scales = (0.004 * np.exp(0.1 * rng.standard_normal((shape[0], 1)))).astype(np.float16)
    return Piece(name=name, shape=shape, bits=bits, codes=codes, scales=scales)


def open_piece(name: str, shape: tuple[int, ...], bits: int, spread: float) -> Piece:
    rng, (num_rows, width) = np.random.default_rng(5), row_layout(shape)
    codes = np.rint(rng.standard_cauchy((num_rows, width)) * spread).clip(-32000, 32000).astype(np.int16)
    steps = np.concatenate([-1200 + 32 * rng.integers(-3, 4, num_rows), np.full(width, 17)]).astype(np.int16)
    return Piece(name=name, shape=shape, bits=bits, codes=codes, scales=steps)


def small_pieces() -> list[Piece]:
    rng = np.random.default_rng(7)
    return [
        code_piece("mlp", (6, 9), 4, 1, 3.0),
        code_piece("attention", (5, 8), 6, 2, 9.0),
        code_piece("wide", (3, 5), 8, 3, 50.0),
        Piece(name="zero", shape=(4, 4), bits=4, codes=np.zeros((4, 4), np.int8), scales=np.zeros((4, 1), np.float16)),
        Piece(name="vector", shape=(3,), bits=2, codes=np.int8([[-2, 1, 0]]), scales=np.float16([[0.5]])),
        Piece(name="gain", shape=(7,), bits=16, floats=rng.normal(size=7).astype(np.float16)),
        Piece(name="table", shape=(40, 8), bits=16, floats=(rng.normal(size=(40, 8)) * 0.01).astype(np.float16)),
        open_piece("open", (12, 30), 0, 3.0),
        open_piece("trellis", (7, 40), -8, 1.5),
        open_piece("open vector", (9,), 0, 60.0),
        Piece(name="scalar", shape=(), bits=32, floats=np.float32(0.1).reshape(())),
    ]


def assert_same(piece: Piece, other: Piece) -> None:
    assert (piece.name, piece.shape, piece.bits) == (other.name, other.shape, other.bits)
    for part in ("codes", "scales", "floats"):
        mine, theirs = getattr(piece, part), getattr(other, part)
        assert (mine is None) == (theirs is None)
        if mine is not None:
            assert mine.dtype == theirs.dtype and mine.shape == theirs.shape and theirs.flags.writeable
            assert mine.tobytes() == theirs.tobytes()


def sealed(payload: bytes) -> bytes:
    """The payload with a digest that matches, as an adversary would send it."""
    digest = hashlib.sha256(payload[8:10] + payload[42:]).digest()
    return payload[:10] + digest + payload[42:]


def with_header(payload: bytes, text: str) -> bytes:
    """The payload with another header in front of the same streams."""
    header = compress_lzma(text.encode())
    old_end = 46 + int.from_bytes(payload[42:46], "little")
    return sealed(payload[:42] + len(header).to_bytes(4, "little") + header + payload[old_end:])


def header_text(payload: bytes, **changes) -> str:
    """Canonical header of the payload with fields of tensor 0 replaced."""
    header = read_header(payload)
    rows = [
        {"name": e.name, "shape": list(e.shape), "bits": e.bits, "bytes": list(e.stream_bytes)} for e in header.entries
    ]
    rows[0] |= changes
    value = {"model": header.model, "tensors": [list(row.values()) for row in rows]}
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


@pytest.mark.parametrize("coder", ["range", "nibble"])
def test_decoding_inverts_encoding(coder):
    pieces = small_pieces()
    payload = encode_payload(MODEL, pieces, coder=coder)
    model, decoded = decode_payload(payload)
    assert model == MODEL and list(decoded) == [piece.name for piece in pieces]
    for piece in pieces:
        assert_same(piece, decoded[piece.name])
    assert encode_payload(model, decoded.values(), coder=coder) == payload


@pytest.mark.parametrize("coder", ["range", "nibble"])
def test_bytes_of_pieces_and_front_sum_to_the_payload(coder):
    payload = encode_payload(MODEL, small_pieces(), coder=coder)
    header = read_header(payload)
    assert header.coder == coder and header.overhead_bytes + sum(header.piece_bytes.values()) == len(payload)
    # constant streams: mode, first and last symbol; no coded words
    assert coder == "nibble" or header.piece_bytes["zero"] == 9


# One line each: magic, version 2, coder; digest; header length; header (as nibble, liblzma stored the JSON as it is);
# streams. The header bytes are liblzma's: another version may write others, but must read these.
GOLDEN = {
    "range": (
        "474f4c46504950450201"
        "5c68f9a335c7ca6ad204c98637fd1d6cce5cd75e301579d1d6fac8760edd3998"
        "4a000000"
        "e0004400425d003d8889a733a8e7af891343b5f71483db9c5550401ea2b56f1c4553053cc3c09780a663826a6955de4fb37bbd478cadf9558d8c350a28b8980408cf578bd1f150a80000"
        "00000f080909090000000038400000003e"
    ),
    "nibble": (
        "474f4c46504950450200"
        "aa31e0675a4892e8c8f25be0de4dde1e3e442bb26efe79f699d49d567d2fd073"
        "45000000"
        "0100407b226d6f64656c223a7b2261223a317d2c2274656e736f7273223a5b5b2277222c5b322c335d2c342c5b382c385d5d2c5b2267222c5b5d2c31362c5b365d5d5d7d00"
        "0100030f889998000100030038004000010001003e00"
    ),
}


@pytest.mark.parametrize("coder", ["range", "nibble"])
def test_payload_is_pinned(coder):
    pieces = [
        Piece(name="w", shape=(2, 3), bits=4, codes=np.int8([[-8, 7, 0], [1, 1, 1]]), scales=np.float16([[0.5], [2]])),
        Piece(name="g", shape=(), bits=16, floats=np.float16(1.5).reshape(())),
    ]
    assert encode_payload({"a": 1}, pieces, coder=coder).hex() == GOLDEN[coder]
    model, decoded = decode_payload(bytes.fromhex(GOLDEN[coder]))
    assert model == {"a": 1}
    for piece in pieces:
        assert_same(piece, decoded[piece.name])


def test_overhead_over_order_0_entropy_is_below_a_tenth_of_a_percent():
    pieces = [
        code_piece("fc", (1792, 512), 4, 0, 2.6),
        code_piece("proj", (512, 1792), 4, 1, 2.6),
        code_piece("q", (512, 512), 6, 2, 10.0),
        code_piece("ngram", (4096, 128), 6, 3, 10.0),
    ]
    payload = encode_payload(MODEL, pieces, coder="range")
    assert len(payload) < 1.001 * sum(ideal_bytes(piece) for piece in pieces)
    decoded = decode_payload(payload)[1]
    for piece in pieces:
        assert_same(piece, decoded[piece.name])


def test_a_zero_model_passes_the_bound_on_values():
    zero = Piece(
        name="z", shape=(1 << 12, 1 << 12), bits=4, codes=np.zeros((1 << 12, 1 << 12), np.int8),
        scales=np.zeros((1 << 12, 1), np.float16),
    )  # fmt: skip
    payload = encode_payload({}, [zero], coder="range")
    assert len(payload) < 200
    assert not decode_payload(payload)[1]["z"].codes.any()


def test_shapes_of_the_model_are_compared_before_decoding():
    payload = encode_payload(MODEL, small_pieces(), coder="range")
    shapes = {piece.name: piece.shape for piece in small_pieces()}
    seen = []
    decode_payload(payload, shapes_of_model=lambda model: seen.append(model) or shapes)
    assert seen == [MODEL]
    for wrong in ({**shapes, "mlp": (9, 6)}, {**shapes, "more": (1,)}, dict(list(shapes.items())[1:])):
        with pytest.raises(ArtifactError, match=r"tensor '(mlp|more)': shape .*the model asks for"):
            decode_payload(payload, shapes_of_model=lambda model, wrong=wrong: wrong)


def test_two_tensors_of_one_name_are_refused():
    piece = small_pieces()[0]
    with pytest.raises(ArtifactError, match="occurs twice"):
        encode_payload(MODEL, [piece, piece], coder="range")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: b"", "begins with"),
        (lambda p: b"\x80\x02}q" + p[4:], "begins with"),
        (lambda p: p[:30], "cut off"),
        (lambda p: p[:8] + b"\x01" + p[9:], "format version 1"),
        (lambda p: sealed(p[:8] + b"\x02" + p[9:]), "format version 2, this program reads such codes in 3"),
        (lambda p: sealed(p[:9] + b"\x07" + p[10:]), "unknown coder 7"),
        (lambda p: p[:9] + b"\x00" + p[10:], "sha256"),
        (lambda p: p[:-1], "sha256"),
        (lambda p: p + b"\x00", "sha256"),
        (lambda p: sealed(p + b"\x00"), "the streams end at byte"),
        (lambda p: sealed(p[:-1]), "the streams end at byte"),
        (lambda p: sealed(p[:42] + b"\xff\xff\xff\xff" + p[46:]), "beyond the payload's end"),
        (lambda p: with_header(p, header_text(p, shape=[-6, 9])), "tensor 'mlp': shape"),
        (lambda p: with_header(p, header_text(p, shape=[True, 9])), "tensor 'mlp': shape"),
        (lambda p: with_header(p, header_text(p, shape=[1 << 20, 1 << 20])), "declares 1099511628"),
        (lambda p: with_header(p, header_text(p, shape=[10**3000])), "tensor 'mlp': shape"),
        (lambda p: with_header(p, header_text(p, shape=[7, 9])), "tensor 'mlp'"),
        (lambda p: with_header(p, header_text(p, bits=3)), "tensor 'mlp': symbol .* exceeds the int3 range"),
        (lambda p: with_header(p, header_text(p, bits=9)), "tensor 'mlp': bits"),
        (lambda p: with_header(p, header_text(p, bits=16)), "expected 2 stream lengths"),
        (lambda p: with_header(p, header_text(p, bytes=[-1, 1, 1])), "none negative"),
        (lambda p: with_header(p, header_text(p, bytes=[1 << 30, 1, 1])), "the streams end at byte"),
        (lambda p: with_header(p, header_text(p, name="gain")), "occurs twice"),
        (lambda p: with_header(p, header_text(p, name="a\nb")), "not printable"),
        (lambda p: with_header(p, "[" * 100_000), "not canonical JSON"),
        (lambda p: with_header(p, '{"model":{"x":NaN},"tensors":[]}'), "not canonical JSON"),
        (lambda p: with_header(p, '{"model":{"x":1e999},"tensors":[]}'), "not canonical JSON"),
        (lambda p: with_header(p, '{"model":{}, "tensors":[]}'), "canonical form"),
        (lambda p: with_header(p, '{"model":{},"model":{},"tensors":[]}'), "canonical form"),
        (lambda p: with_header(p, '{"model":[],"tensors":[]}'), "must hold `model`"),
        (lambda p: with_header(p, "7"), "must hold `model`"),
        (lambda p: with_header(p, '{"model":{},"tensors":[["x",[1],4]]}'), "entry must be"),
        (lambda p: with_header(p, '"' + " " * MAX_HEADER_BYTES + '"'), "more than 4000000 bytes"),
        (lambda p: with_header(p, "\u00e9"), "not canonical JSON"),
    ],
)  # fmt: skip
def test_lies_are_named(change, message):
    payload = encode_payload(MODEL, small_pieces(), coder="range")
    with pytest.raises(ArtifactError, match=message):
        decode_payload(change(payload))


def test_damage_without_a_matching_digest_is_always_found():
    payload, rng = encode_payload(MODEL, small_pieces(), coder="range"), random.Random(0)
    for _ in range(1000):
        damaged = bytearray(payload)
        damaged[rng.randrange(len(payload))] ^= 1 << rng.randrange(8)
        with pytest.raises(ArtifactError):
            decode_payload(bytes(damaged))


@pytest.mark.parametrize("coder", ["range", "nibble"])
def test_hostile_payloads_decode_to_valid_pieces_or_raise_artifact_error(coder):
    payload, rng = encode_payload(MODEL, small_pieces(), coder=coder), random.Random(1)
    text, decoded = header_text(payload), 0
    for trial in range(1500):
        damaged = bytearray(payload)
        for _ in range(rng.choice((1, 1, 2, 8))):
            damaged[rng.randrange(42, len(payload))] = rng.randrange(256)
        hostile = sealed(bytes(damaged))
        if trial % 3 == 1:
            hostile = sealed(payload[: rng.randrange(len(payload))])
        elif trial % 3 == 2:  # damage the header's text, which its compression would otherwise hide
            at = rng.randrange(len(text))
            hostile = with_header(payload, text[:at] + rng.choice('0123456789-,[]{}"ae. ') + text[at + 1 :])
        try:
            pieces = decode_payload(hostile)[1]
        except ArtifactError:
            continue
        decoded += 1
        assert sum(piece.num_values for piece in pieces.values()) <= max_payload_values(len(hostile))
    assert decoded < 1500


def test_magic_is_not_that_of_a_known_format():
    assert PAYLOAD_MAGIC == b"GOLFPIPE"
