"""Symbol statistics: order-0 entropy, 12-bit frequency tables, and how a table is written.

All of it is integer or exactly rounded IEEE arithmetic: the same counts give the same table on any machine.
"""

from __future__ import annotations

import numpy as np

from golfpipe.errors import ArtifactError

# Shapes: S size of the alphabet (symbols 0..S-1, S <= 256), N number of symbols

TABLE_BITS = 12
TABLE_TOTAL = 1 << TABLE_BITS
"""Frequencies of a table sum to this."""

_MAX_RICE_BITS = 12


def count_symbols(symbols_N: np.ndarray) -> np.ndarray:
    """uint8 symbols -> int64 counts [256]."""
    return np.bincount(symbols_N, minlength=256)


def entropy_bits(counts_S: np.ndarray) -> float:
    """Order-0 code length of all symbols together, in bits: sum of -count * log2(count / N). fp64.

    No static model that knows nothing but the symbol itself can do with less.
    """
    present = counts_S[counts_S > 0].astype(np.float64)
    if len(present) < 2:
        return 0.0
    return float((present * np.log2(present.sum() / present)).sum())


def normalize_counts(counts_S: np.ndarray) -> np.ndarray:
    """Counts -> int64 frequencies that sum to 4096, at least 1 for every symbol that occurs.

    Starts from the rounded-down shares and moves single units to where they save the most code length: a unit more
    at frequency f saves count * log((f + 1) / f) ~ count / (f + 1/2). Ties go to the lower symbol.
    """
    total = int(counts_S.sum())
    assert total > 0
    frequencies_S = counts_S.astype(np.int64) * TABLE_TOTAL // total
    frequencies_S[(counts_S > 0) & (frequencies_S == 0)] = 1
    weights_S = counts_S.astype(np.float64)
    while (missing := TABLE_TOTAL - int(frequencies_S.sum())) > 0:
        best = int(np.argmax(weights_S / (2 * frequencies_S + 1)))
        frequencies_S[best] += 1
    for _ in range(-missing):
        costs_S = np.where(frequencies_S > 1, weights_S / np.maximum(2 * frequencies_S - 1, 1), np.inf)
        frequencies_S[int(np.argmin(costs_S))] -= 1
    return frequencies_S


def write_table(frequencies_S: np.ndarray) -> bytes:
    """Compact table: first and last symbol (a byte each), then the frequencies from first to last but one.

    Each is written as the difference from its predecessor, zigzag, in a Rice code (unary quotient, k low bits; k of
    4 bits comes first and is the best of 0..12). The last frequency is what is missing to 4096. A table of one symbol
    is the two bytes alone. 16 symbols take about 20 bytes, 64 symbols about 50.
    """
    present = np.flatnonzero(frequencies_S)
    first, last = int(present[0]), int(present[-1])
    ends = bytes((first, last))
    if first == last:
        return ends
    values = [int(frequency) for frequency in frequencies_S[first:last]]
    steps = [value - before for value, before in zip(values, [0, *values], strict=False)]
    folded = [2 * step if step >= 0 else -2 * step - 1 for step in steps]
    k = min(range(_MAX_RICE_BITS + 1), key=lambda k: sum((value >> k) + 1 + k for value in folded))
    bits = f"{k:04b}" + "".join("1" * (value >> k) + "0" + _low_bits(value, k) for value in folded)
    bits += "0" * (-len(bits) % 8)
    return ends + int(bits, 2).to_bytes(len(bits) // 8, "big")


def read_table(data: bytes) -> tuple[np.ndarray, int]:
    """Bytes that begin with a table -> (frequencies int64 [256], bytes used). ArtifactError for anything malformed."""
    if len(data) < 2 or data[0] > data[1]:
        raise ArtifactError("frequency table is cut off or its first symbol lies above its last one")
    first, last = data[0], data[1]
    frequencies_S = np.zeros(256, dtype=np.int64)
    if first == last:
        frequencies_S[first] = TABLE_TOTAL
        return frequencies_S, 2
    reader = _BitReader(data[2:])
    k = reader.take(4)
    if k > _MAX_RICE_BITS:
        raise ArtifactError(f"frequency table: Rice parameter {k} exceeds {_MAX_RICE_BITS}")
    value = used = 0
    for symbol in range(first, last):
        folded = (reader.take_unary() << k) | reader.take(k)
        value += folded >> 1 if folded % 2 == 0 else -((folded + 1) >> 1)
        used += value
        if value < (symbol == first) or used >= TABLE_TOTAL:
            raise ArtifactError(
                f"frequency table: a frequency is negative, the first is 0, or they do not sum to {TABLE_TOTAL}"
            )
        frequencies_S[symbol] = value
    frequencies_S[last] = TABLE_TOTAL - used
    if reader.take(-reader.position % 8):
        raise ArtifactError("frequency table: its last byte is not filled with zeros")
    return frequencies_S, 2 + (reader.position + 7) // 8


def _low_bits(value: int, width: int) -> str:
    return f"{value & ((1 << width) - 1):0{width}b}" if width else ""


class _BitReader:
    """Reads a bit string from the front, most significant bit first."""

    def __init__(self, data: bytes) -> None:
        # The longest table has 255 frequencies of at most 15 bits each (k = 12, quotient at most 2): 479 bytes.
        head = data[:512]
        self.bits = f"{int.from_bytes(head, 'big'):0{8 * len(head)}b}" if head else ""
        self.position = 0

    def take(self, width: int) -> int:
        field = self.bits[self.position : self.position + width]
        if len(field) < width:
            raise ArtifactError("frequency table is cut off")
        self.position += width
        return int(field, 2) if width else 0

    def take_unary(self) -> int:
        end = self.bits.find("0", self.position)
        if end < 0:
            raise ArtifactError("frequency table is cut off")
        length = end - self.position
        self.position = end + 1
        return length
