"""Open-ended codes as streams: a header, one ANS stream, and the escapes.

    header   for each of five arrays of whole numbers (row steps, column steps, row classes, column classes, table
             scales): unit (a byte; 0: constant) and center (int16); where the unit is not 0 a byte for the table: its
             exponent, and a log scale (int8) follows, or 255, and a written table follows (frequencies.py); at the
             end the exponent of the codes' tables (a byte)
    words    ANS: the arrays as (value - center) / unit, then the codes class by class, each class in row order
    escapes  uint16 each, in the order of their symbols: what exceeds the end of a computed table

All little-endian. Tables of codes are computed (code_shapes), never written; arrays take whichever is shorter.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

import constriction
import numpy as np

from golfpipe.codec.code_shapes import (
    EXPONENTS,
    MAX_LOG_SCALE,
    MAX_SYMBOL,
    MIN_LOG_SCALE,
    code_bits,
    code_offset,
    fit_shapes,
    shape_frequencies,
    shape_model,
)
from golfpipe.codec.formats import Format, IdealSize
from golfpipe.codec.frequencies import TABLE_TOTAL, entropy_bits, normalize_counts, read_table, write_table
from golfpipe.codec.log_steps import step_grid
from golfpipe.codec.pieces import MAX_LOG_STEP, MAX_OPEN_CODE, OPEN_STATES, Piece, row_layout
from golfpipe.codec.scale_classes import MAX_CLASSES, ScaleClasses, class_counts, plan_classes
from golfpipe.codec.symbols import ANS_END, CODER_CHUNK, table_model
from golfpipe.codec.trellis_code import trellis_points
from golfpipe.errors import ArtifactError

# Shapes: R rows, C codes per row, K classes, N symbols, S symbols of a table

_WRITTEN_TABLE = 255
_ARRAY_RANGES = ((-MAX_LOG_STEP, MAX_LOG_STEP),) * 2 + ((0, MAX_CLASSES),) * 2 + ((MIN_LOG_SCALE, MAX_LOG_SCALE),)


class OpenCodes(Format):
    """Codes without bounds, with a step for each row and one for each column."""

    def num_streams(self, bits: int) -> int:
        return 3

    def encode(self, piece: Piece) -> list[bytes]:
        return open_piece_to_streams(piece)

    def decode(self, streams: Sequence[bytes], shape: tuple[int, ...], bits: int) -> dict[str, np.ndarray]:
        codes_RC, log_steps = streams_to_open_codes(streams, shape, bits)
        return {"codes": codes_RC, "scales": log_steps}

    def ideal_size(self, piece: Piece) -> IdealSize:
        """The length of the codes under the tables that code them, plus what the arrays of steps would take at order
        0."""
        assert piece.scales is not None
        num_rows = row_layout(piece.shape)[0]
        parts = piece.scales[:num_rows], piece.scales[num_rows:]
        steps = sum(entropy_bits(np.unique(part, return_counts=True)[1]) for part in parts)
        bits = ideal_open_bits(piece) + steps
        return IdealSize(bits, bits)

    def weights(self, piece: Piece) -> np.ndarray:
        """Point times step."""
        assert piece.codes is not None and piece.scales is not None
        states = OPEN_STATES[piece.bits]
        points_RC = trellis_points(piece.codes, states) if states > 1 else piece.codes.astype(np.float32)
        weights: np.ndarray = points_RC * step_grid(piece.scales, len(piece.codes))
        return weights.reshape(piece.shape)


def open_piece_to_streams(piece: Piece) -> list[bytes]:
    """Return header, words and escapes of a piece with open-ended codes."""
    assert piece.codes is not None and piece.scales is not None
    offset, num_rows = code_offset(piece.bits), len(piece.codes)
    classes = plan_classes(piece.codes, offset)
    writer = _Writer()
    for values in (
        piece.scales[:num_rows],
        piece.scales[num_rows:],
        classes.row_R,
        classes.column_C,
        classes.log_scale_K,
    ):
        writer.add_array(values.astype(np.int64))
    writer.header += bytes((classes.exponent,))
    flat_N, order_N, count_K = _class_order(piece.codes, classes)
    position = 0
    for log_scale, count in zip(classes.log_scale_K, count_K, strict=True):
        part = flat_N[order_N[position : position + count]] if order_N is not None else flat_N
        writer.add_symbols(part, int(log_scale), classes.exponent, offset)
        position += count
    return [bytes(writer.header), writer.words(), b"".join(writer.escapes)]


def streams_to_open_codes(streams: Sequence[bytes], shape: tuple[int, ...], bits: int) -> tuple[np.ndarray, np.ndarray]:
    """Inverse of open_piece_to_streams: (codes int16 [R, C], log steps int16 [R + C]). ArtifactError if malformed."""
    num_rows, width = row_layout(shape)
    offset = code_offset(bits)
    reader = _Reader(*streams)
    steps = [reader.array(length, *_ARRAY_RANGES[i]) for i, length in enumerate((num_rows, width))]
    row_R, column_C = (reader.array(length, *_ARRAY_RANGES[i]) for i, length in ((2, num_rows), (3, width)))
    num_classes = int(row_R.max()) + int(column_C.max()) + 1
    if num_classes > MAX_CLASSES:
        raise ArtifactError(f"{num_classes} classes of codes, at most {MAX_CLASSES} are accepted")
    log_scale_K = reader.array(num_classes, *_ARRAY_RANGES[4])
    (exponent,) = reader.take("<B")
    classes = ScaleClasses(row_R, column_C, 1, log_scale_K, exponent)
    codes_N = np.empty(num_rows * width, dtype=np.int16)
    _, order_N, count_K = _class_order(codes_N.reshape(num_rows, width), classes)
    position = 0
    for log_scale, count in zip(log_scale_K, count_K, strict=True):
        if count:
            part = reader.symbols(int(count), int(log_scale), exponent, offset)
            if np.abs(part).max() > MAX_OPEN_CODE:
                raise ArtifactError(f"a code exceeds {MAX_OPEN_CODE}")
            if order_N is None:
                codes_N[:] = part
            else:
                codes_N[order_N[position : position + count]] = part
        position += count
    reader.finish()
    return codes_N.reshape(num_rows, width), np.concatenate(steps).astype(np.int16)


def ideal_open_bits(piece: Piece) -> float:
    """Return the code length in bits of the codes under the tables that code them, and of the class numbers at order 0;
    without the header and the steps."""
    assert piece.codes is not None
    offset = code_offset(piece.bits)
    classes = plan_classes(piece.codes, offset)
    counts_KS = class_counts(piece.codes, classes.row_R, classes.column_C)
    most = counts_KS.shape[1] // 2
    numbers = sum(entropy_bits(np.bincount(part)) for part in (classes.row_R, classes.column_C))
    return numbers + sum(
        float((counts_S * code_bits(int(log_scale), classes.exponent, offset, most)).sum())
        for counts_S, log_scale in zip(counts_KS, classes.log_scale_K, strict=True)
    )


def _class_order(codes_RC: np.ndarray, classes: ScaleClasses) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
    """(codes [N], their indices class by class or None for a single class, codes per class [K])."""
    num_classes = len(classes.log_scale_K)
    flat_N = codes_RC.reshape(-1)
    if num_classes == 1:
        return flat_N, None, np.array([codes_RC.size])
    class_N = classes.class_RC.reshape(-1)
    return flat_N, np.argsort(class_N, kind="stable"), np.bincount(class_N, minlength=num_classes)


@dataclass
class _Writer:
    """Collects segments in the order of decoding; ANS is a stack, so they are encoded from the last to the first."""

    header: bytearray = field(default_factory=bytearray)
    escapes: list[bytes] = field(default_factory=list)
    _segments: list[tuple[np.ndarray, constriction.stream.model.Categorical]] = field(default_factory=list)

    def add_array(self, values_N: np.ndarray) -> None:
        least, center = int(values_N.min()), int(np.sort(values_N)[len(values_N) // 2])
        unit = int(np.gcd.reduce(values_N - least))
        if unit > 255:  # the header has a byte for it, and a divisor of the unit will do
            unit = max(divisor for divisor in range(1, 256) if unit % divisor == 0)
        if not unit:
            self.header += struct.pack("<Bh", 0, center)
            return
        symbols_N = (values_N - center) // unit
        most = int(min(MAX_SYMBOL, np.abs(symbols_N).max()))
        counts_S = np.bincount(np.clip(symbols_N, -most, most) + most, minlength=2 * most + 1)
        (log_scale,), exponent, (bits,) = fit_shapes(counts_S[None], 0.0)
        from_least_N = (values_N - least) // unit
        if from_least_N.max() < 256:
            counts_S = np.bincount(from_least_N, minlength=256)
            frequencies_S = normalize_counts(counts_S)
            table = write_table(frequencies_S)
            written_bits = float((counts_S * np.log2(TABLE_TOTAL / np.maximum(frequencies_S, 1))).sum())
            if written_bits + 8 * len(table) < bits + 8:
                self.header += struct.pack("<BhB", unit, least, _WRITTEN_TABLE) + table
                self._segments.append((from_least_N.astype(np.int32), table_model(frequencies_S)[1]))
                return
        self.header += struct.pack("<BhBb", unit, center, exponent, log_scale)
        self.add_symbols(symbols_N, int(log_scale), exponent, 0.0)

    def add_symbols(self, symbols_N: np.ndarray, log_scale: int, exponent: int, offset: float) -> None:
        if not len(symbols_N):
            return
        half = len(shape_frequencies(log_scale, exponent, offset)) // 2
        beyond_N = np.abs(symbols_N.astype(np.int32)) - half
        self.escapes.append(beyond_N[beyond_N >= 0].astype("<u2").tobytes())
        clipped_N = np.clip(symbols_N, -half, half).astype(np.int32) + half
        self._segments.append((clipped_N, shape_model(log_scale, exponent, offset)))

    def words(self) -> bytes:
        coder = constriction.stream.stack.AnsCoder(ANS_END)
        for symbols_N, model in reversed(self._segments):
            for start in range((len(symbols_N) - 1) // CODER_CHUNK * CODER_CHUNK, -1, -CODER_CHUNK):
                coder.encode_reverse(symbols_N[start : start + CODER_CHUNK], model)
        words: np.ndarray = coder.get_compressed().astype("<u4")
        return words.tobytes()


class _Reader:
    """Reads what _Writer wrote, and refuses everything else with ArtifactError."""

    def __init__(self, header: bytes, words: bytes, escapes: bytes) -> None:
        if len(words) % 4 or len(escapes) % 2:
            raise ArtifactError("coded stream has bytes left over")
        try:
            self._coder = constriction.stream.stack.AnsCoder(np.frombuffer(words, dtype="<u4").astype(np.uint32))
        except ValueError as error:  # the last word is zero, which no encoder writes
            raise ArtifactError(f"coded stream: {error}") from error
        self._header, self._position = header, 0
        self._escapes = np.frombuffer(escapes, dtype="<u2").astype(np.int32)

    def take(self, layout: str) -> tuple[int, ...]:
        end = self._position + struct.calcsize(layout)
        if end > len(self._header):
            raise ArtifactError("header of the codes is cut off")
        fields = struct.unpack(layout, self._header[self._position : end])
        self._position = end
        return fields

    def array(self, length: int, least: int, most: int) -> np.ndarray:
        """int64 [length] of values within least..most."""
        unit, center = self.take("<Bh")
        values_N = np.full(length, center, dtype=np.int64)
        if unit:
            (table,) = self.take("<B")
            if table == _WRITTEN_TABLE:
                frequencies_S, size = read_table(self._header[self._position :])
                self._position += size
                if np.count_nonzero(frequencies_S) < 2:
                    raise ArtifactError("header of the codes: a table of a single number")
                first, model = table_model(frequencies_S)
                symbols_N = self._decode(length, model) + first
            else:
                (log_scale,) = self.take("<b")
                symbols_N = self.symbols(length, log_scale, table, 0.0)
            values_N += unit * symbols_N.astype(np.int64)
        if values_N.min() < least or values_N.max() > most:
            raise ArtifactError(f"numbers {values_N.min()}..{values_N.max()} of the header exceed {least}..{most}")
        return values_N

    def symbols(self, count: int, log_scale: int, exponent: int, offset: float) -> np.ndarray:
        """int32 [count] with escapes resolved."""
        if not (MIN_LOG_SCALE <= log_scale <= MAX_LOG_SCALE and exponent < len(EXPONENTS)):
            raise ArtifactError(f"table of scale {log_scale} and exponent {exponent} does not exist")
        half = len(shape_frequencies(log_scale, exponent, offset)) // 2
        symbols_N = self._decode(count, shape_model(log_scale, exponent, offset)) - half
        ends_M = np.flatnonzero(np.abs(symbols_N) == half)
        if len(ends_M) > len(self._escapes):
            raise ArtifactError("coded stream has fewer escapes than it needs")
        rest_M, self._escapes = self._escapes[: len(ends_M)], self._escapes[len(ends_M) :]
        symbols_N[ends_M] += np.sign(symbols_N[ends_M]) * rest_M
        return symbols_N

    def _decode(self, count: int, model: constriction.stream.model.Categorical) -> np.ndarray:
        symbols_N = np.empty(count, dtype=np.int32)
        for start in range(0, count, CODER_CHUNK):
            size = min(CODER_CHUNK, count - start)
            symbols_N[start : start + size] = self._coder.decode(model, size)
        return symbols_N

    def finish(self) -> None:
        if self._position != len(self._header) or len(self._escapes):
            raise ArtifactError("coded stream has header bytes or escapes left over")
        if not np.array_equal(self._coder.get_compressed(), ANS_END):
            raise ArtifactError("coded stream does not end after its last code")


FORMAT = OpenCodes()
