"""Entropy coding of byte symbols with one static model per stream: ANS from the constriction library.

ANS was picked over constriction's range coder by measurement: 2^22 Gaussian int4 codes took 3e-6 over their entropy
instead of 4e-5, and decoding, which the evaluation clock sees, is a fifth faster (76 against 62 million per second).

A coded stream is one mode byte, then: 0 the symbols as they are; 1 a frequency table and the coder's 32-bit words,
little-endian. The model is built from the integer table alone, in arithmetic that is exact in fp64 (products of
12-bit and 24-bit integers), so every machine decodes the same symbols.
"""

from __future__ import annotations

from collections.abc import Sequence

import constriction
import numpy as np

from golfpipe.codec.frequencies import (
    TABLE_TOTAL,
    count_symbols,
    entropy_bits,
    normalize_counts,
    read_table,
    write_table,
)
from golfpipe.errors import ArtifactError

# Shapes: N number of symbols, W bytes per value

_MODE_RAW = 0
_MODE_ANS = 1
# The coder starts from this state and must be back in it after the last symbol. From state 0 one could go on to decode
# the first symbol of the alphabet for ever; the highest state below 2^24 belongs to the last symbol, and decoding it
# makes the state smaller. So an exact end proves the count, for 3 bytes a stream.
ANS_END = np.array([(1 << 24) - 1], dtype=np.uint32)
# Symbols per call of the coder, which takes int32: 256 KB stay in the cache.
CODER_CHUNK = 1 << 16


def encode_symbols(symbols_N: np.ndarray) -> bytes:
    """uint8 symbols -> coded stream; raw where that is no longer. N >= 1."""
    counts = count_symbols(symbols_N)
    raw = bytes((_MODE_RAW,)) + symbols_N.tobytes()
    if entropy_bits(counts) >= 8 * len(symbols_N):
        return raw
    present = np.flatnonzero(counts)
    # Two ends, 4 bits and at least one for each frequency, and a word: a short stream needs no table to be tried.
    if len(symbols_N) <= 6 + (11 + int(present[-1] - present[0])) // 8 and len(present) > 1:
        return raw
    frequencies = normalize_counts(counts)
    coded = bytes((_MODE_ANS,)) + write_table(frequencies)
    if np.count_nonzero(frequencies) > 1:
        first, model = table_model(frequencies)
        coder = constriction.stream.stack.AnsCoder(ANS_END)
        # ANS is a stack: the last chunk goes in first, so that the first one comes out first.
        for start in range((len(symbols_N) - 1) // CODER_CHUNK * CODER_CHUNK, -1, -CODER_CHUNK):
            coder.encode_reverse(symbols_N[start : start + CODER_CHUNK].astype(np.int32) - first, model)
        coded += coder.get_compressed().astype("<u4").tobytes()
    return coded if len(coded) < len(raw) else raw


def decode_symbols(stream: bytes, num_symbols: int) -> np.ndarray:
    """Coded stream -> uint8 symbols [num_symbols]. The caller has bounded num_symbols.

    Raises ArtifactError where the stream is malformed, too short, or does not hold exactly that many symbols.
    """
    if not stream or stream[0] not in (_MODE_RAW, _MODE_ANS):
        raise ArtifactError("coded stream is empty or of unknown mode")
    if stream[0] == _MODE_RAW:
        if len(stream) != 1 + num_symbols:
            raise ArtifactError(f"raw stream holds {len(stream) - 1} symbols, expected {num_symbols}")
        return np.frombuffer(stream, dtype=np.uint8, offset=1).copy()
    frequencies, table_bytes = read_table(stream[1:])
    words = stream[1 + table_bytes :]
    if np.count_nonzero(frequencies) == 1:
        if words:
            raise ArtifactError("coded stream of one repeated symbol has bytes left over")
        return np.full(num_symbols, np.argmax(frequencies), dtype=np.uint8)
    if len(words) % 4:
        raise ArtifactError(f"coded stream has {len(words)} bytes, not a whole number of 32-bit words")
    return _decode_words(np.frombuffer(words, dtype="<u4").astype(np.uint32), frequencies, num_symbols)


def _decode_words(words: np.ndarray, frequencies: np.ndarray, num_symbols: int) -> np.ndarray:
    try:
        coder = constriction.stream.stack.AnsCoder(words)
    except ValueError as error:  # the last word is zero, which no encoder writes
        raise ArtifactError(f"coded stream: {error}") from error
    first, model = table_model(frequencies)
    symbols_N = np.empty(num_symbols, dtype=np.uint8)
    for start in range(0, num_symbols, CODER_CHUNK):
        count = min(CODER_CHUNK, num_symbols - start)
        symbols_N[start : start + count] = coder.decode(model, count) + first
    # Decoding never fails by itself; it runs on into invented symbols.
    if not np.array_equal(coder.get_compressed(), ANS_END):
        raise ArtifactError(f"coded stream does not end after {num_symbols} symbols")
    return symbols_N


def table_model(frequencies: np.ndarray) -> tuple[int, constriction.stream.model.Categorical]:
    """(first symbol, model of the symbols from there to the last one). At least two symbols have a frequency."""
    present = np.flatnonzero(frequencies)
    first, last = int(present[0]), int(present[-1])
    # Only the range that occurs: the decoder looks symbols up by bisection, and 16 are found sooner than 256.
    # perfect=False is the documented variant whose rounding is plain scaling of the cumulative sums.
    return first, constriction.stream.model.Categorical(frequencies[first : last + 1] / TABLE_TOTAL, perfect=False)


def byte_planes(values: np.ndarray) -> list[np.ndarray]:
    """Return the bytes of the numbers, uint8 [N] each: all lowest ones, then the next, up to the highest ones."""
    little = np.ascontiguousarray(values).astype(values.dtype.newbyteorder("<"), copy=False)
    bytes_NW = little.reshape(-1, 1).view(np.uint8)
    return [np.ascontiguousarray(bytes_NW[:, i]) for i in range(bytes_NW.shape[1])]


def decode_planes(streams: Sequence[bytes], num_values: int, dtype: np.dtype) -> np.ndarray:
    """Return the numbers [num_values] whose byte planes `streams` code. Raises ArtifactError as decode_symbols."""
    bytes_NW = np.stack([decode_symbols(stream, num_values) for stream in streams], axis=1)
    return bytes_NW.view(dtype.newbyteorder("<")).reshape(-1).astype(dtype, copy=False)
