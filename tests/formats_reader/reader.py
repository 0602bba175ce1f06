"""Reads packed payloads. It was written from docs/file-formats.md alone, and shares no code with golfpipe.

Python's standard library and NumPy are enough. `read_pieces` gives the weights of any payload; state_dicts.py makes the
tensors of a state dict of them. What the page does not allow is a ValueError. A symbol takes a microsecond.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
import lzma
import math
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Context, Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

NUMBERS = 2**24
"""An interval is a part of the numbers below this one."""
WRITTEN_TOTAL, COMPUTED_TOTAL = 4096, 65536
MOST_EXPONENT, MOST_CLASS, MOST_SYMBOL, MOST_CODE = 12_288, 63, 511, 32_000
LOG_SCALES = (-32, 88)
SHAPES = (
    (2.0, 4.242640687119285),
    (1.75, 5.215531519334271),
    (1.5, 6.868285455319991),
    (1.25, 10.097596309015797),
    (1.0, 18.0),
    (0.75, 47.173345095760126),
    (0.5, 324.0),
)
"""(b, t) of each index: the exponent of a density, and how many scales its table reaches."""
POLYNOMIAL = (
    *(1.0, 0.6931471805599453, 0.2402265069591007, 0.055504108664821576, 0.009618129107628477),
    *(0.0013333558146428441, 0.00015403530393381606, 1.5252733804059838e-05, 1.3215486790144305e-06),
    *(1.0178086009239696e-07, 7.054911620801121e-09, 4.44553827187081e-10, 2.5678435993488196e-11),
    1.3691488853904124e-12,
)
EXACT = {108: "<u1", 116: "<u2", 132: "<u4", 164: "<u8"}
FLOATS = {16: "<f2", 32: "<f4"}
OPEN_ENDED = {0: 0, -4: 2, -8: 3}
"""How many earlier bits the trellis looks at; none for scalar codes."""
Numbers = NDArray[Any]


@dataclass(frozen=True)
class Piece:
    """One tensor of the header: fp32 weights, or unsigned integers where `exact`."""

    name: str
    bits: int
    numbers: Numbers

    @property
    def exact(self) -> bool:
        return self.bits in EXACT


class Bytes:
    """A stream that is read from its beginning."""

    def __init__(self, data: bytes) -> None:
        self.data, self.position = data, 0

    def take(self, count: int) -> bytes:
        start, self.position = self.position, self.position + count
        require(self.position <= len(self.data), "a stream ends too early")
        return self.data[start : self.position]

    def number(self, count: int, *, signed: bool = False) -> int:
        return int.from_bytes(self.take(count), "little", signed=signed)

    def bits(self) -> Iterator[int]:
        while True:
            byte = self.number(1)
            yield from (byte >> shift & 1 for shift in range(7, -1, -1))

    def finish(self) -> None:
        require(self.position == len(self.data), "something follows the end of a stream")


class Words:
    """The words of an asymmetric numeral system, and its state."""

    def __init__(self, data: bytes) -> None:
        require(len(data) >= 4 and len(data) % 4 == 0, "words have 4 bytes, and there is at least one")
        self.words = np.frombuffer(data, "<u4").tolist()
        self.state = self.words.pop()
        require(self.state != 0, "the last word is 0")
        if self.words:
            self._refill()

    def _refill(self) -> None:
        self.state = self.state << 32 | self.words.pop()

    def symbols(self, frequencies: Sequence[int], count: int) -> list[int]:
        """The numbers, within the table, of the next `count` symbols."""
        left = intervals(tuple(frequencies))
        found = []
        for _ in range(count):
            high, q = divmod(self.state, NUMBERS)
            symbol = bisect_right(left, q) - 1
            found.append(symbol)
            self.state = high * (left[symbol + 1] - left[symbol]) + q - left[symbol]
            if self.state < 2**32 and self.words:
                self._refill()
        return found

    def finish(self) -> None:
        require(not self.words and self.state == NUMBERS - 1, "the words do not end where the encoder began")


def read_pieces(payload: bytes) -> tuple[dict[str, Any], list[Piece]]:
    """Return the header's `model`, and all tensors in the order of the header."""
    require(payload[:8] == b"GOLFPIPE" and len(payload) >= 46, "this is no payload")
    version, coder = payload[8], payload[9]
    require(hashlib.sha256(payload[8:10] + payload[42:]).digest() == payload[10:42], "the checksum is another one")
    rest = Bytes(payload[42:])
    text = _unpack(rest.take(rest.number(4)))
    header = json.loads(text)
    canonical = json.dumps(header, sort_keys=True, separators=(",", ":"), allow_nan=False)
    require(canonical.encode("ascii") == text and set(header) == {"model", "tensors"}, "the header is not canonical")
    open_ended = any(bits in OPEN_ENDED for _, _, bits, _ in header["tensors"])
    require(version == (3 if open_ended else 2), "the version does not fit the tensors")
    require(coder < 2, "there is no such coder")
    pieces = []
    for name, shape, bits, lengths in header["tensors"]:
        require(len(shape) <= 8 and all(size > 0 for size in shape), "a shape has an axis of 0, or more than 8 axes")
        rows = shape[0] if len(shape) > 1 else 1
        decode = _decode_range if coder else _decode_nibble
        numbers = decode([rest.take(length) for length in lengths], rows, math.prod(shape) // rows, bits)
        pieces.append(Piece(name, bits, numbers.reshape(shape)))
    rest.finish()
    require(len({piece.name for piece in pieces}) == len(pieces), "a name occurs twice")
    return header["model"], pieces


def _decode_nibble(streams: list[bytes], rows: int, columns: int, bits: int) -> Numbers:
    """The numbers of a tensor by coder 0; each of its streams is one array as LZMA2."""

    def array(stream: bytes, dtype: str, size: tuple[int, ...]) -> Numbers:
        data = _unpack(stream)
        require(len(data) == math.prod(size) * np.dtype(dtype).itemsize, "an array has another length")
        return np.frombuffer(data, dtype).reshape(size)

    if bits in FLOATS or bits in EXACT:
        (values,) = streams
        return _as_numbers(array(values, FLOATS.get(bits) or EXACT[bits], (rows, columns)))
    if bits in OPEN_ENDED:
        codes, exponents = streams
        both = array(exponents, "<i2", (rows + columns,))
        return _open_weights(array(codes, "<i2", (rows, columns)), both[:rows], both[rows:], bits)
    codes, scales = streams
    if bits == 4:
        pairs = array(codes, "<u1", (rows, (columns + 1) // 2))
        halves = np.stack([pairs >> 4, pairs & 15], axis=-1).reshape(rows, -1)
        require(bool((halves[:, columns:] == 8).all()), "a row is filled with another code than 0")
        grid = halves[:, :columns].astype(np.int8) - 8
    else:
        grid = array(codes, "<i1", (rows, columns))
    return _grid_weights(grid, array(scales, "<f2", (rows, 1)), bits)


def _decode_range(streams: list[bytes], rows: int, columns: int, bits: int) -> Numbers:
    """The numbers of a tensor by coder 1."""
    count = rows * columns
    if bits in FLOATS or bits in EXACT:
        dtype = np.dtype(FLOATS.get(bits) or EXACT[bits])
        require(len(streams) == dtype.itemsize, "there is a stream for each byte of a number")
        planes = np.stack([_symbols(stream, count, exact=bits in EXACT) for stream in streams], axis=-1)
        return _as_numbers(np.frombuffer(planes.tobytes(), dtype).reshape(rows, columns))
    if bits in OPEN_ENDED:
        header, words, escapes = streams
        return _OpenEnded(header, words, escapes).weights(rows, columns, bits)
    codes, low, high = streams
    scales = np.stack([_symbols(low, rows), _symbols(high, rows)], axis=-1)
    grid = _symbols(codes, count).reshape(rows, columns).astype(np.int16) - 2 ** (bits - 1)
    return _grid_weights(grid, np.frombuffer(scales.tobytes(), "<f2").reshape(rows, 1), bits)


def _symbols(stream: bytes, count: int, *, exact: bool = False) -> NDArray[np.uint8]:
    """The bytes that a stream of symbols holds."""
    mode, rest = stream[0], Bytes(stream[1:])
    if mode == 0:
        data = rest.data
    elif mode == 1:
        first, frequencies = _written_table(rest)
        if len(frequencies) == 1:
            rest.finish()
            numbers = [0] * count
        else:
            words = Words(rest.take(len(rest.data) - rest.position))
            numbers = words.symbols(frequencies, count)
            words.finish()
        data = bytes(first + number for number in numbers)
    else:
        require(mode == 2 and exact, "a stream of symbols has another mode")
        data = _unpack(rest.data)
    require(len(data) == count, "a stream of symbols has another length")
    return np.frombuffer(data, np.uint8)


def _written_table(stream: Bytes) -> tuple[int, list[int]]:
    """The first symbol, and the frequencies from it to the last symbol; they sum to 4096."""
    first, last = stream.number(1), stream.number(1)
    require(first <= last, "the last symbol is before the first one")
    if first == last:
        return first, [WRITTEN_TOTAL]
    bits = stream.bits()
    k = _whole(bits, 4)
    require(k <= 12, "k is above 12")
    frequencies, before = [], 0
    for _ in range(first, last):
        v = sum(1 for _ in iter(lambda: next(bits), 0)) << k | _whole(bits, k)
        before += -(v + 1) // 2 if v % 2 else v // 2
        frequencies.append(before)
    frequencies.append(WRITTEN_TOTAL - sum(frequencies))
    require(min(frequencies) >= 0 and frequencies[0] > 0 and frequencies[-1] > 0, "a frequency is too small")
    return first, frequencies


def _whole(bits: Iterator[int], count: int) -> int:
    """The whole number of the next `count` bits, the highest first."""
    return functools.reduce(lambda number, bit: number << 1 | bit, itertools.islice(bits, count), 0)


@functools.cache
def intervals(frequencies: tuple[int, ...]) -> list[int]:
    """left_0 ... left_n of a table of n symbols."""
    total, n, before, left = sum(frequencies), len(frequencies), 0, []
    for i, frequency in enumerate(frequencies):
        left.append(before * (NUMBERS - n) // total + i)
        before += frequency
    return [*left, NUMBERS]


@functools.cache
def computed_table(log_scale: int, index: int, offset: float) -> list[int]:
    """The frequencies of the symbols -M ... M; they sum to 65536."""
    require(LOG_SCALES[0] <= log_scale <= LOG_SCALES[1], "a log scale is out of bounds")
    require(index < len(SHAPES), "there is no such exponent")
    b, t = SHAPES[index]
    a = float(_power_of_two(Decimal(log_scale) / 8))
    most = min(MOST_SYMBOL, max(1, math.ceil(a * t)))
    n = 2 * most + 1
    x = np.abs(np.arange(-most, most + 1)[:, None] + offset + (np.arange(8) - 3.5) / 8) / a
    r = np.sqrt(np.sqrt(x))
    p = np.ones_like(r)
    for _ in range(round(4 * b)):
        p = p * r
    m = np.rint(-p)
    u = -p - m
    v = np.full_like(u, POLYNOMIAL[13])
    for i in range(12, -1, -1):
        v = v * u
        v = v + POLYNOMIAL[i]
    density = np.ldexp(v, np.maximum(m, -1000).astype(int))
    weights = np.floor(density * 2.0**40).astype(np.int64).sum(axis=1).tolist()
    total = sum(weights)
    frequencies = [weight * (COMPUTED_TOTAL - n) // total + 1 for weight in weights]
    missing = COMPUTED_TOTAL - sum(frequencies)
    for symbol in range(-(missing // 2), -(missing // 2) + missing):
        frequencies[symbol + most] += 1
    return frequencies


class _OpenEnded:
    """Open-ended codes by coder 1: five arrays and the codes, in a header, words and escapes."""

    def __init__(self, header: bytes, words: bytes, escapes: bytes) -> None:
        self.header, self.words, self.escapes = Bytes(header), Words(words), Bytes(escapes)

    def weights(self, rows: int, columns: int, bits: int) -> Numbers:
        row_exponents = self._array(rows, -MOST_EXPONENT, MOST_EXPONENT)
        column_exponents = self._array(columns, -MOST_EXPONENT, MOST_EXPONENT)
        row_classes, column_classes = self._array(rows, 0, MOST_CLASS), self._array(columns, 0, MOST_CLASS)
        classes = row_classes[:, None] + column_classes
        require(classes.max() <= MOST_CLASS, "there are more than 64 classes")
        log_scales = self._array(int(classes.max()) + 1, *LOG_SCALES)
        index = self.header.number(1)
        codes = np.zeros((rows, columns), np.int64)
        for number, log_scale in enumerate(log_scales.tolist()):
            places = classes == number
            table = computed_table(log_scale, index, 0.25 if OPEN_ENDED[bits] else 0.0)
            codes[places] = self._numbers(table, int(places.sum()))
        self.header.finish()
        self.words.finish()
        self.escapes.finish()
        return _open_weights(codes, row_exponents, column_exponents, bits)

    def _array(self, length: int, least: int, most: int) -> NDArray[np.int64]:
        unit, center = self.header.number(1), self.header.number(2, signed=True)
        numbers = np.zeros(length, np.int64)
        if unit:
            coded = self.header.number(1)
            if coded == 255:
                first, frequencies = _written_table(self.header)
                numbers += np.add(self.words.symbols(frequencies, length), first)
            else:
                numbers += self._numbers(computed_table(self.header.number(1, signed=True), coded, 0.0), length)
        values = center + unit * numbers
        require(bool((values >= least).all() and (values <= most).all()), "a value of an array is out of bounds")
        return values

    def _numbers(self, table: list[int], count: int) -> list[int]:
        """Numbers of a computed table, with the escapes of those at its ends."""
        most = len(table) // 2
        found = [symbol - most for symbol in self.words.symbols(table, count)]
        for place, number in enumerate(found):
            if abs(number) == most:
                found[place] += math.copysign(1, number) * self.escapes.number(2)
        return [int(number) for number in found]


def _as_numbers(values: Numbers) -> Numbers:
    """Floats as fp32, and integers as they are."""
    if values.dtype.kind == "u":
        return values
    require(bool(np.isfinite(values).all()), "a value is not finite")
    return values.astype(np.float32)


def _grid_weights(codes: Numbers, scales: Numbers, bits: int) -> Numbers:
    require(2 <= bits <= 8, "there is no such kind of tensor")
    require(bool((codes >= -(2 ** (bits - 1))).all() and (codes < 2 ** (bits - 1)).all()), "a code is out of bounds")
    require(bool((scales >= 0).all() and np.isfinite(scales).all()), "a scale is negative or not finite")
    return codes.astype(np.float32) * scales.astype(np.float32)


def _open_weights(codes: Numbers, row_exponents: Numbers, column_exponents: Numbers, bits: int) -> Numbers:
    require(bool((np.abs(codes.astype(np.int64)) <= MOST_CODE).all()), "a code is out of bounds")
    points, memory = codes.astype(np.float32), OPEN_ENDED[bits]
    if memory:
        points = 2 * points + np.float32(0.5)
        before = [np.zeros(len(codes), np.int64)] * memory
        for column in range(codes.shape[1]):
            points[before[-1] == 1, column] *= -1
            before.append(functools.reduce(np.bitwise_xor, before[-memory:], codes[:, column].astype(np.int64) & 1))
    return points * (_steps(row_exponents)[:, None] * _steps(column_exponents))


def _steps(exponents: Numbers) -> NDArray[np.float32]:
    require(bool((np.abs(exponents.astype(int)) <= MOST_EXPONENT).all()), "an exponent of a step is out of bounds")
    whole, parts = np.divmod(exponents.astype(int), 256)
    return np.ldexp(_fractions()[parts], whole).astype(np.float32)


@functools.cache
def _fractions() -> NDArray[np.float32]:
    """2^(0 / 256) ... 2^(255 / 256), each as the nearest fp32: from 1 to 2 they are multiples of 2^-23."""
    return np.array([round(_power_of_two(Decimal(part) / 256) * 2**23) / 2**23 for part in range(256)], np.float32)


def _power_of_two(exponent: Decimal) -> Decimal:
    """Two to this power, with 50 digits."""
    return Context(prec=50).power(Decimal(2), exponent)


def _unpack(data: bytes) -> bytes:
    """Raw LZMA2 that ends with the data."""
    decoder = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=[{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 23}])
    try:
        unpacked = decoder.decompress(data)
    except lzma.LZMAError as error:
        raise ValueError(f"LZMA2 is damaged: {error}") from error
    require(decoder.eof and not decoder.unused_data, "LZMA2 does not end with its stream")
    return unpacked


def require(holds: bool, otherwise: str) -> None:
    """Raise ValueError unless a condition holds."""
    if not holds:
        raise ValueError(otherwise)
