"""The byte rules of docs/stages/evaluate.md, case by case. tests/data/test_tokenizer.py compares whole texts."""

import numpy as np
import pytest

from golfpipe.errors import DataError
from golfpipe.scoring.byte_table import CASE_MARKERS, build_byte_table, scored_bytes, target_bytes

PIECES = {
    "<s>": "control",
    "<unk>": "unknown",
    "unused": "unused",
    "<0xE2>": "byte",
    "\u2581the": "normal",
    "a": "normal",
    "\u2581": "normal",
    "\u20ac": "normal",
    "\u2581a\u2581b": "normal",
    "\u2581\u2581": "normal",
    "[user]": "user_defined",
}
IDS = {piece: token_id for token_id, piece in enumerate(PIECES)}


@pytest.fixture(scope="module")
def table():
    return build_byte_table(list(PIECES), list(PIECES.values()))


@pytest.mark.parametrize(
    ("previous", "target", "expected"),
    [
        ("a", "<s>", 0),
        ("a", "<unk>", 0),
        ("a", "unused", 0),
        ("a", "<0xE2>", 1),
        ("a", "a", 1),
        ("a", "\u20ac", 3),
        ("a", "\u2581the", 4),
        ("<0xE2>", "\u2581the", 4),
        ("[user]", "\u2581the", 4),
        ("<s>", "\u2581the", 3),
        ("<unk>", "\u2581the", 3),
        ("unused", "\u2581the", 3),
        ("a", "\u2581", 1),
        ("<s>", "\u2581", 0),
        ("a", "\u2581a\u2581b", 4),
        ("<s>", "\u2581a\u2581b", 3),
        ("a", "\u2581\u2581", 2),
        ("a", "[user]", 6),
    ],
)
def test_bytes_of_a_target(table, previous, target, expected):
    assert target_bytes(table, np.array([IDS[previous]]), np.array([IDS[target]])).tolist() == [expected]


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.int64])
def test_any_shape_and_integer_type(table, dtype):
    ids = np.arange(len(PIECES), dtype=dtype)
    previous, targets = np.meshgrid(ids, ids)
    counted = target_bytes(table, previous, targets)
    assert counted.shape == targets.shape
    assert counted.dtype == np.int32
    assert counted.sum() == sum(target_bytes(table, previous[i], targets[i]).sum() for i in ids)


def test_no_targets(table):
    assert target_bytes(table, np.empty(0, np.uint16), np.empty(0, np.uint16)).sum() == 0


@pytest.mark.parametrize("bad", [11, 65535, -1])
@pytest.mark.parametrize("as_previous", [True, False])
def test_ids_outside_the_vocabulary_are_refused(table, bad, as_previous):
    good_ids, bad_ids = np.array([0, 1]), np.array([0, bad])
    with pytest.raises(DataError, match=rf"token id {bad} lies outside the tokenizer's 0\.\.10"):
        target_bytes(table, *((bad_ids, good_ids) if as_previous else (good_ids, bad_ids)))


@pytest.mark.parametrize("pieces", [{"\u2581a": "normal", "<0xE2>": "byte"}, {"\u2581": "control", "a": "normal"}])
def test_a_vocabulary_without_the_space_is_refused(pieces):
    with pytest.raises(DataError, match="no piece for the space"):
        build_byte_table(list(pieces), list(pieces.values()))


def test_transformed_text_needs_a_sidecar():
    pieces = [*CASE_MARKERS["caps"], "\u2581", "a"]
    table = build_byte_table(pieces, ["normal"] * len(pieces))
    tokens = np.array([5, 4, 0, 5])
    assert target_bytes(table, tokens[:-1], tokens[1:]).tolist() == [1, 0, 1]
    assert scored_bytes(table, tokens, np.array([7, 1, 0, 2])).tolist() == [1, 0, 2]
    with pytest.raises(DataError, match="case-transformed"):
        scored_bytes(table, tokens, None)


def test_wrong_piece_lists_are_refused():
    with pytest.raises(DataError, match="lists 2 pieces but 1 piece types"):
        build_byte_table(["a", "b"], ["normal"])
    with pytest.raises(DataError, match=r"piece 1 \('b'\) has type 'odd'"):
        build_byte_table(["a", "b"], ["normal", "odd"])
