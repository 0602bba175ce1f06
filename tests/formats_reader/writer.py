"""Writes payloads as docs/file-formats.md says, where a test needs what no quantizer makes."""

from __future__ import annotations

import hashlib
import json
import lzma
from collections.abc import Sequence
from typing import Any

import numpy as np
from reader import NUMBERS, WRITTEN_TOTAL, computed_table, intervals

Symbol = tuple[Sequence[int], int]
"""The frequencies of a table, and the number of a symbol within it."""
SAME = bytes(3)
"""An array of zeros in a header."""
LZMA2 = ({"id": lzma.FILTER_LZMA2, "dict_size": 1 << 23},)


def payload(version: int, coder: int, header: dict[str, Any], streams: bytes) -> bytes:
    """Return a payload with the right checksum."""
    text = json.dumps(header, sort_keys=True, separators=(",", ":")).encode("ascii")
    packed = lzma2(text)
    start, rest = bytes((version, coder)), len(packed).to_bytes(4, "little") + packed + streams
    return b"GOLFPIPE" + start + hashlib.sha256(start + rest).digest() + rest


def lzma2(data: bytes) -> bytes:
    """Return the data as raw LZMA2."""
    return lzma.compress(data, lzma.FORMAT_RAW, filters=LZMA2)


def parts(data: bytes) -> tuple[int, int, dict[str, Any], bytes]:
    """Return the arguments of `payload` that give these bytes."""
    start = 46 + int.from_bytes(data[42:46], "little")
    text = lzma.decompress(data[46:start], lzma.FORMAT_RAW, filters=LZMA2)
    return data[8], data[9], json.loads(text), data[start:]


def as_state_dict(data: bytes) -> bytes:
    """Return the payload of a state dict with the same pieces, each a tensor, so that `decompress` reads it."""
    version, coder, header, streams = parts(data)
    types = {108: "uint8", 116: "uint16", 132: "uint32", 164: "uint64"}
    lines = [[name, types.get(bits, "float32"), shape, 1, 0] for name, shape, bits, _ in header["tensors"]]
    pieces = [[str(number), *entry[1:]] for number, entry in enumerate(header["tensors"])]
    return payload(version, coder, {"model": {"weights": lines}, "tensors": pieces}, streams)


def words(symbols: Sequence[Symbol]) -> bytes:
    """Return the words of symbols, in the order of decoding."""
    state, written = NUMBERS - 1, []
    for frequencies, symbol in reversed(symbols):
        left = intervals(tuple(frequencies))
        width = left[symbol + 1] - left[symbol]
        if state >= width << 40:
            written.append(state % 2**32)
            state >>= 32
        high, low = divmod(state, width)
        state = high * NUMBERS + left[symbol] + low
    high, low = divmod(state, 2**32)
    written += [low, high] if high else [low]
    return np.array(written, "<u4").tobytes()


def one_class_per_row(log_scales: Sequence[int], index: int, bits: int, places: Sequence[Sequence[float]]) -> bytes:
    """Return the payload of a matrix of open-ended codes, all steps 1: the table of row r has log_scales[r].

    places: a row of numbers from -1 to 1 for each row. They are scaled to the symbols of its table; those at its ends
    get escapes.
    """
    classes, classes_coded = _array(0, range(len(log_scales)))
    scales, scales_coded = _array(log_scales[0], log_scales)
    header = SAME + SAME + classes + SAME + scales + bytes((index,))
    symbols, escapes = [*classes_coded, *scales_coded], []
    for log_scale, row in zip(log_scales, places, strict=True):
        table = computed_table(log_scale, index, 0.25 if bits else 0.0)
        most = len(table) // 2
        numbers = [round(place * most) for place in row]
        symbols.extend((table, number + most) for number in numbers)
        escapes.extend(7 * column for column, number in enumerate(numbers) if abs(number) == most)
    streams = (header, words(symbols), np.array(escapes, "<u2").tobytes())
    shape = [len(places), len(places[0])]
    tensors = [["0", shape, bits, [len(stream) for stream in streams]]]
    return payload(3, 1, {"model": {"weights": [["w", "float32", shape, 1, 0]]}, "tensors": tensors}, b"".join(streams))


def _array(center: int, values: Sequence[int]) -> tuple[bytes, list[Symbol]]:
    """An array in the header under a written table, and its symbols."""
    last = max(values) - center
    frequencies = (WRITTEN_TOTAL - 16 * last, *[16] * last)
    start = bytes((1,)) + center.to_bytes(2, "little", signed=True) + bytes((255, 0, last))
    return start + _table(frequencies), [(frequencies, value - center) for value in values]


def _table(frequencies: Sequence[int]) -> bytes:
    """The bits of a written table after its first and last symbol, with k = 4."""
    bits, before = "0100", 0
    for frequency in frequencies[:-1]:
        difference, before = frequency - before, frequency
        v = 2 * difference if difference >= 0 else -2 * difference - 1
        bits += "1" * (v >> 4) + "0" + f"{v % 16:04b}"
    bits += "0" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big")
