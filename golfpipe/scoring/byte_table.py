"""How many bytes of text each target token stands for (docs/stages/evaluate.md).

Byte-fallback pieces count 1; control, unknown and unused pieces 0; any other piece the UTF-8 bytes of its text without
the leading U+2581, and 1 more for that leading space unless the previous token is a boundary (control, unknown or
unused). Over a document that starts with BOS these sum to the bytes of the decoded text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from golfpipe.errors import DataError

SPACE_MARK = "\u2581"
"""The character as which SentencePiece writes a space."""
PIECE_TYPES = ("normal", "unknown", "control", "user_defined", "unused", "byte")
BOUNDARY_PIECE_TYPES = ("unknown", "control", "unused")


@dataclass(frozen=True, slots=True)
class ByteTable:
    """What the byte rules need to know of each token id. V is the vocabulary size."""

    base_bytes: np.ndarray
    """The bytes of each piece without its leading space, int32 [V]."""
    has_leading_space: np.ndarray
    """True for pieces that begin with U+2581, bool [V]."""
    is_boundary: np.ndarray
    """True for control, unknown and unused pieces, bool [V]. A leading space right after one is the tokenizer's own."""


def build_byte_table(pieces: Sequence[str], piece_types: Sequence[str]) -> ByteTable:
    """Return the table of a vocabulary, given as one piece and one type of PIECE_TYPES per id.

    User-defined pieces are text like normal ones. Raises DataError for lists of different lengths or an unknown type.
    """
    if len(pieces) != len(piece_types):
        raise DataError(f"the tokenizer lists {len(pieces)} pieces but {len(piece_types)} piece types")
    base_bytes = np.zeros(len(pieces), dtype=np.int32)
    has_leading_space = np.zeros(len(pieces), dtype=np.bool_)
    is_boundary = np.zeros(len(pieces), dtype=np.bool_)
    for token_id, (piece, piece_type) in enumerate(zip(pieces, piece_types, strict=True)):
        if piece_type not in PIECE_TYPES:
            raise DataError(f"piece {token_id} ({piece!r}) has type {piece_type!r}, expected one of {PIECE_TYPES}")
        if piece_type in BOUNDARY_PIECE_TYPES:
            is_boundary[token_id] = True
        elif piece_type == "byte":
            base_bytes[token_id] = 1
        else:
            has_leading_space[token_id] = piece.startswith(SPACE_MARK)
            text = piece.removeprefix(SPACE_MARK).replace(SPACE_MARK, " ")
            base_bytes[token_id] = len(text.encode("utf-8"))
    return ByteTable(base_bytes, has_leading_space, is_boundary)


def target_bytes(table: ByteTable, previous_ids: np.ndarray, target_ids: np.ndarray) -> np.ndarray:
    """Return the bytes of each target, int32, in the shape of the two id arrays (any integer dtype, equal shapes).

    `previous_ids[i]` is the token right before `target_ids[i]`. Raises DataError for an id outside the vocabulary.
    """
    check_ids_in_vocabulary(table, previous_ids)
    check_ids_in_vocabulary(table, target_ids)
    counts_space = table.has_leading_space[target_ids] & ~table.is_boundary[previous_ids]
    num_bytes: np.ndarray = table.base_bytes[target_ids] + counts_space
    return num_bytes


def check_ids_in_vocabulary(table: ByteTable, ids: np.ndarray) -> None:
    """Check that all token ids lie in 0..V-1. Raises DataError."""
    vocab_size = len(table.base_bytes)
    if ids.size and not 0 <= int(ids.min()) <= int(ids.max()) < vocab_size:
        worst = int(ids.max()) if int(ids.max()) >= vocab_size else int(ids.min())
        raise DataError(
            f"token id {worst} lies outside the tokenizer's 0..{vocab_size - 1}",
            hint="the shards were made with another tokenizer",
        )
