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
CASE_MARKERS = {"caps": "\ue001\ue002\ue003\ue004", "caps_before_space": "\ue011\ue012\ue013\ue014"}
"""Case transform -> the characters that it puts before words in place of capitals: first letter, whole word, next
letter, and the mark before one of these characters that is part of the text itself. `caps` is that of the challenge's
later records."""


@dataclass(frozen=True, slots=True)
class ByteTable:
    """What the byte rules need to know of each token id. V is the vocabulary size."""

    base_bytes: np.ndarray
    """The bytes of each piece without its leading space, int32 [V]."""
    has_leading_space: np.ndarray
    """True for pieces that begin with U+2581, bool [V]."""
    is_boundary: np.ndarray
    """True for control, unknown and unused pieces, bool [V]. A leading space right after one is the tokenizer's own."""
    case_transformed: bool
    """The vocabulary has case markers, so the text was transformed before it became tokens, and a sidecar has its
    bytes. The markers have 0 base bytes, which leaves a table that is right up to escaped markers, a space at the
    beginning, and normalization."""


def build_byte_table(pieces: Sequence[str], piece_types: Sequence[str]) -> ByteTable:
    """Return the table of a vocabulary, given as one piece and one type of PIECE_TYPES per id.

    User-defined pieces are text like normal ones. Raises DataError for lists of different lengths, an unknown type, or
    a vocabulary without a piece for the space: it would be spelled in three byte pieces, and count three bytes.
    """
    if len(pieces) != len(piece_types):
        raise DataError(f"the tokenizer lists {len(pieces)} pieces but {len(piece_types)} piece types")
    markers = set(CASE_MARKERS.get(case_form(pieces), ""))
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
        elif piece not in markers:
            has_leading_space[token_id] = piece.startswith(SPACE_MARK)
            text = piece.removeprefix(SPACE_MARK).replace(SPACE_MARK, " ")
            base_bytes[token_id] = len(text.encode("utf-8"))
    if not any(pieces[token_id] == SPACE_MARK for token_id in np.flatnonzero(has_leading_space).tolist()):
        raise DataError(
            "the tokenizer has no piece for the space, so that a space is spelled in bytes and counts three",
            hint="train one on text with spaces, or with the space among SentencePiece's required_chars",
        )
    return ByteTable(base_bytes, has_leading_space, is_boundary, bool(markers))


def case_form(pieces: Sequence[str]) -> str:
    """Return the case transform whose markers a vocabulary has, "none" for none."""
    known = set(pieces)
    return next((form for form, markers in CASE_MARKERS.items() if known.issuperset(markers)), "none")


def target_bytes(table: ByteTable, previous_ids: np.ndarray, target_ids: np.ndarray) -> np.ndarray:
    """Return the bytes of each target, int32, in the shape of the two id arrays (any integer dtype, equal shapes).

    `previous_ids[i]` is the token right before `target_ids[i]`. Raises DataError for an id outside the vocabulary.
    """
    check_ids_in_vocabulary(table, previous_ids)
    check_ids_in_vocabulary(table, target_ids)
    counts_space = table.has_leading_space[target_ids] & ~table.is_boundary[previous_ids]
    num_bytes: np.ndarray = table.base_bytes[target_ids] + counts_space
    return num_bytes


def scored_bytes(table: ByteTable, tokens: np.ndarray, sidecar: np.ndarray | None) -> np.ndarray:
    """Return the bytes of each target of `tokens` [N + 1], that is of all tokens but the first: [N].

    They come from `sidecar` [N + 1], the bytes of original text that each token stands for, where there is one, else
    from the table. Raises DataError for text that only a sidecar knows the bytes of.
    """
    if sidecar is not None:
        check_ids_in_vocabulary(table, tokens)
        return sidecar[1:]
    if table.case_transformed:
        raise DataError(
            "the text was case-transformed before it became tokens, and nothing says how many bytes it had",
            hint="put the *val_bytes_*.bin files of these shards beside them",
        )
    return target_bytes(table, tokens[:-1], tokens[1:])


def check_ids_in_vocabulary(table: ByteTable, ids: np.ndarray) -> None:
    """Check that all token ids lie in 0..V-1. Raises DataError."""
    vocab_size = len(table.base_bytes)
    if ids.size and not 0 <= int(ids.min()) <= int(ids.max()) < vocab_size:
        worst = int(ids.max()) if int(ids.max()) >= vocab_size else int(ids.min())
        raise DataError(
            f"token id {worst} lies outside the tokenizer's 0..{vocab_size - 1}",
            hint="the shards were made with another tokenizer",
        )
