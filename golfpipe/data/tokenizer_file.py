"""Checks of a SentencePiece model file that the library does not make, done before it reads the file.

The file is a protocol buffer. Field 1 is a piece, one each; fields 3 and 5 are normalizers, whose field 2 is a table of
characters: the size of a trie (uint32), the trie (Darts-clone, uint32 each), and the texts that its values point into.
The library follows the trie without checking bounds, and makes an object of a hundred bytes out of two bytes of file.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from golfpipe.errors import DataError

MAX_VOCAB_SIZE = 65_536
"""The most pieces, because shards hold uint16 tokens."""
_PIECES, _NORMALIZER, _DENORMALIZER, _CHARSMAP = 1, 3, 5, 2
_LENGTH_DELIMITED = 2
_FIXED_BYTES = {1: 8, 5: 4}
_VALUE_BIT = np.uint32(1 << 31)
_BLOCK = 256


def check_model_file(content: bytes, name: str) -> None:
    """Check a file before the library reads it. Raises DataError, which starts with `name`, if it could do harm."""
    pieces = 0
    for field, value in _fields(content, f"{name}: is not a SentencePiece model"):
        pieces += field == _PIECES
        if pieces > MAX_VOCAB_SIZE:
            raise DataError(f"{name}: has more than {MAX_VOCAB_SIZE} pieces, but shards hold ids below that")
        if field in (_NORMALIZER, _DENORMALIZER):
            for inner, table in _fields(value, f"{name}: normalizer"):
                if inner == _CHARSMAP and table:
                    _check_table(table, f"{name}: normalizer table")
    if pieces == 0:
        raise DataError(f"{name}: is not a SentencePiece model ({len(content)} bytes): it has no pieces")


def _fields(content: bytes, name: str) -> Iterator[tuple[int, bytes]]:
    """Yield the number and value of each field that is a byte string; numbers are skipped."""
    position = 0
    while position < len(content):
        key, position = _varint(content, position, name)
        wire, field = key & 7, key >> 3
        if wire == 0:
            _, position = _varint(content, position, name)
            continue
        if wire == _LENGTH_DELIMITED:
            length, position = _varint(content, position, name)
        elif wire in _FIXED_BYTES:
            length = _FIXED_BYTES[wire]
        else:
            raise DataError(f"{name}: field {field} at byte {position} is of unknown kind {wire}")
        if length > len(content) - position:
            raise DataError(f"{name}: field {field} declares {length} bytes, {len(content) - position} are left")
        if wire == _LENGTH_DELIMITED:
            yield field, content[position : position + length]
        position += length


def _varint(content: bytes, position: int, name: str) -> tuple[int, int]:
    """Return the number at `position`, of 7 bits a byte with the low ones first, and the position after it."""
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(content):
            break
        byte = content[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise DataError(f"{name}: cut off, or a number of more than 64 bits, at byte {position}")


def _check_table(table: bytes, name: str) -> None:
    """Check that every step from every unit of the trie stays inside it, that every value points into the texts, and
    that these end with a zero. Raises DataError."""
    size = int.from_bytes(table[:4], "little")
    texts = table[4 + size :]
    if len(table) < 4 or size % (4 * _BLOCK) or not size or not texts or texts[-1] != 0:
        raise DataError(f"{name}: a trie of {size} bytes in a table of {len(table)}")
    units = np.frombuffer(table, dtype="<u4", count=size // 4, offset=4)
    is_value = (units & _VALUE_BIT) != 0
    offsets = (units >> 10).astype(np.int64) << ((units & 0x200) >> 6)
    # From unit i one goes to i ^ offset ^ c for some byte c, so to any place in one block of 256.
    reached = (np.arange(len(units)) ^ offsets) | (_BLOCK - 1)
    if (reached[~is_value] >= len(units)).any() or ((units[is_value] & ~_VALUE_BIT) >= len(texts)).any():
        raise DataError(f"{name}: the trie leads outside of it")
