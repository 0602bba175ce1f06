"""Pieces refuse contradictions, because they are also built from files."""

import numpy as np
import pytest

from golfpipe.codec.pieces import Piece, code_bounds, row_layout
from golfpipe.errors import ArtifactError

CODES, SCALES = np.int8([[-8, 7, 0], [1, 2, 3]]), np.float16([[0.5], [0.0]])


def test_bounds_and_layout():
    assert [code_bounds(bits) for bits in (2, 4, 6, 8)] == [(-2, 1), (-8, 7), (-32, 31), (-128, 127)]
    assert [row_layout(shape) for shape in [(), (8,), (3, 4), (3, 4, 5)]] == [(1, 1), (1, 8), (3, 4), (3, 20)]


def test_valid_pieces():
    assert Piece(name="w", shape=(2, 3), bits=4, codes=CODES, scales=SCALES).num_values == 6
    assert Piece(name="s", shape=(), bits=16, floats=np.float16(1.5).reshape(())).num_values == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bits": 3}, r"codes -8\.\.7 exceed the int3 range -4\.\.3"),
        ({"bits": 9}, "must be 2..8, 16 or 32"),
        ({"bits": 16}, "means floats"),
        ({"floats": SCALES}, "means codes and scales and nothing else"),
        ({"scales": None}, "means codes and scales"),
        ({"shape": (3, 2)}, r"codes are int8 \[2, 3\], expected int8 \[3, 2\]"),
        ({"shape": (0, 3)}, "positive whole numbers"),
        ({"codes": CODES.astype(np.int16)}, "codes are int16"),
        ({"scales": SCALES[:, 0]}, r"scales are float16 \[2\]"),
        ({"scales": -SCALES}, "not negative"),
        ({"scales": SCALES * np.float16(np.nan)}, "must be finite"),
    ],
)
def test_contradictions_are_named(changes, message):
    fields = {"name": "w", "shape": (2, 3), "bits": 4, "codes": CODES, "scales": SCALES} | changes
    with pytest.raises(ArtifactError, match=message):
        Piece(**fields)


def test_float_pieces_must_be_finite():
    with pytest.raises(ArtifactError, match="'g': holds NaN"):
        Piece(name="g", shape=(2,), bits=32, floats=np.float32([1, np.inf]))
