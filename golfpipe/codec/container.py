"""The packed payload: a model description and its pieces as one self-describing byte string.

    offset  bytes  content
    0       8      magic "GOLFPIPE"
    8       1      format version: 3 where a tensor has open-ended codes, else 2
    9       1      coder, by its number in coders.py
    10      32     sha256 of every other byte from offset 8 on
    42      4      H, length of the compressed header, little-endian
    46      H      header: canonical JSON, LZMA2
    46 + H         the streams of all tensors, back to back in header order

    header  {"model": {...}, "tensors": [[name, shape, bits, [bytes of each stream]], ...]}

No pickle, no code, no padding: the lengths must add up to the payload's end. The digest finds damage; everything else
is checked as if an adversary had computed it. All failures are ArtifactError.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from golfpipe.codec.coders import CODERS, coder_number, coder_of_number
from golfpipe.codec.lzma_stream import compress_lzma, decompress_lzma
from golfpipe.codec.pieces import OPEN_STATES, Piece, format_name
from golfpipe.errors import ArtifactError

PAYLOAD_MAGIC = b"GOLFPIPE"
PAYLOAD_VERSIONS = (2, 3)
"""The format versions of payloads without and with open-ended codes. (Version 1 had no open-ended codes, and version 2
stored their steps and classes in another way.)"""
MAX_HEADER_BYTES = 4_000_000
"""The most bytes that a header may decompress to; the header of the 16-layer model has 8 KB."""

_DIGEST_START = 10
_HEADER_START = 46

ShapesOfModel = Callable[[dict[str, Any]], Mapping[str, tuple[int, ...]]]


@dataclass(frozen=True, kw_only=True, slots=True)
class PayloadEntry:
    """What the header says about one tensor."""

    name: str
    shape: tuple[int, ...]
    bits: int
    stream_bytes: tuple[int, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class PayloadHeader:
    """The checked front of a payload: enough for a size table, without decoding a single code."""

    coder: str
    model: dict[str, Any]
    """Architecture as the encoder got it; the caller validates it."""
    entries: tuple[PayloadEntry, ...]
    overhead_bytes: int
    """Bytes of the payload before the first stream. With piece_bytes it sums to the payload's length."""

    @property
    def piece_bytes(self) -> dict[str, int]:
        """Tensor name -> its coded bytes, tables included."""
        return {entry.name: sum(entry.stream_bytes) for entry in self.entries}


def max_payload_values(payload_bytes: int) -> int:
    """Most tensor values that a payload of this size may declare.

    A repeated code costs nothing, so a few bytes can declare anything. 67 M values in any case: the 16-layer model
    with every weight zero passes. Beyond that 32 values a byte, a twelfth of a code's usual cost.
    """
    return max(1 << 26, 32 * payload_bytes)


def encode_payload(
    model: Mapping[str, Any],
    pieces: Iterable[Piece],
    *,
    coder: str,
    streams_of: Callable[[Piece], list[bytes]] | None = None,
) -> bytes:
    """Model description (anything that JSON can hold) and pieces -> payload. The same input gives the same bytes.

    coder: a name of the table CODERS. streams_of: its `encode`, or a version of it that remembers what it has coded.
    `read_header(payload)` tells the bytes of each tensor. Raises ArtifactError for a name that occurs twice, and for
    a payload that the reader would refuse.
    """
    pieces = list(pieces)
    streams_of_pieces = [(streams_of or CODERS.load(coder).encode)(piece) for piece in pieces]
    header = {
        "model": dict(model),
        "tensors": [
            [piece.name, list(piece.shape), piece.bits, [len(stream) for stream in streams]]
            for piece, streams in zip(pieces, streams_of_pieces, strict=True)
        ],
    }
    header_bytes = compress_lzma(_canonical_json(header).encode("ascii"))
    front = bytes((_version_of([piece.bits for piece in pieces]), coder_number(coder)))
    body = b"".join(
        (len(header_bytes).to_bytes(4, "little"), header_bytes, *(s for streams in streams_of_pieces for s in streams))
    )
    payload = PAYLOAD_MAGIC + front + hashlib.sha256(front + body).digest() + body
    read_header(payload)
    return payload


def decode_payload(
    payload: bytes, *, shapes_of_model: ShapesOfModel | None = None
) -> tuple[dict[str, Any], dict[str, Piece]]:
    """Payload -> (model description, name -> piece in the order of the file).

    shapes_of_model maps the description to the names and shapes that it asks for; they are compared before anything
    is decoded. It must raise ArtifactError for a description that it does not understand. Without it the caller
    checks. Raises ArtifactError for anything that is not exactly a payload.
    """
    header = read_header(payload)
    if shapes_of_model is not None:
        _compare_shapes(header, shapes_of_model(header.model))
    return header.model, {piece.name: piece for piece in payload_pieces(payload, header)}


def payload_pieces(payload: bytes, header: PayloadHeader) -> Iterator[Piece]:
    """Decode the pieces one by one, in the order of the file. header: what `read_header` gave for this payload.

    Raises ArtifactError as decode_payload does.
    """
    position = header.overhead_bytes
    for entry in header.entries:
        streams = []
        for length in entry.stream_bytes:
            streams.append(payload[position : position + length])
            position += length
        try:
            arrays = CODERS.load(header.coder).decode(streams, entry.shape, entry.bits)
        except ArtifactError as error:
            raise ArtifactError(f"packed payload, tensor {entry.name!r}: {error.message}") from error
        yield Piece(name=entry.name, shape=entry.shape, bits=entry.bits, **arrays)


def read_header(payload: bytes) -> PayloadHeader:
    """Check magic, version, digest, header, declared sizes and layout; decode no stream."""
    coder = _check_front(payload)
    header_length = int.from_bytes(payload[_HEADER_START - 4 : _HEADER_START], "little")
    overhead = _HEADER_START + header_length
    if overhead > len(payload):
        raise ArtifactError(f"packed payload: header of {header_length} bytes reaches beyond the payload's end")
    try:
        text = decompress_lzma(payload[_HEADER_START:overhead], max_bytes=MAX_HEADER_BYTES).decode("ascii")
        parsed = json.loads(text)
        if _canonical_json(parsed) != text:  # also refuses NaN, repeated keys and anything that JSON merely tolerates
            raise ValueError("not in canonical form")
    except ArtifactError as error:
        raise ArtifactError(f"packed payload: header: {error.message}") from error
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"packed payload: header is not canonical JSON: {error}") from error
    if not (
        isinstance(parsed, dict)
        and parsed.keys() == {"model", "tensors"}
        and isinstance(parsed["model"], dict)
        and isinstance(parsed["tensors"], list)
    ):
        raise ArtifactError("packed payload: header must hold `model` (a mapping) and `tensors` (a list)")
    entries = tuple(_parse_entry(row, coder) for row in parsed["tensors"])
    version = _version_of([entry.bits for entry in entries])
    if payload[8] != version:
        raise ArtifactError(f"packed payload: format version {payload[8]}, this program reads such codes in {version}")
    header = PayloadHeader(coder=coder, model=parsed["model"], entries=entries, overhead_bytes=overhead)
    _check_sizes(header, len(payload))
    return header


def _version_of(bits: list[int]) -> int:
    return PAYLOAD_VERSIONS[any(code in OPEN_STATES for code in bits)]


def _check_front(payload: bytes) -> str:
    if payload[: len(PAYLOAD_MAGIC)] != PAYLOAD_MAGIC:
        raise ArtifactError(f"packed payload: begins with {payload[:8]!r}, expected {PAYLOAD_MAGIC!r}")
    if len(payload) < _HEADER_START:
        raise ArtifactError(f"packed payload: cut off after {len(payload)} bytes")
    version, coder_id = payload[8], payload[9]
    if version not in PAYLOAD_VERSIONS:
        raise ArtifactError(f"packed payload: format version {version}, this program reads {PAYLOAD_VERSIONS}")
    digest_end = _HEADER_START - 4
    digest = hashlib.sha256(payload[8:_DIGEST_START])
    digest.update(memoryview(payload)[digest_end:])
    if digest.digest() != payload[_DIGEST_START:digest_end]:
        raise ArtifactError("packed payload: sha256 does not match: damaged, cut off or extended")
    return coder_of_number(coder_id)


def _parse_entry(row: Any, coder: str) -> PayloadEntry:
    if not (isinstance(row, list) and len(row) == 4 and isinstance(row[0], str)):
        raise ArtifactError("packed payload: a tensor's entry must be [name, shape, bits, stream lengths]")
    name, shape, bits, lengths = row
    where = f"packed payload, tensor {name[:100]!r}"
    if not name or not name.isprintable():
        raise ArtifactError(f"{where}: the name is empty or not printable")
    if not _whole_numbers(shape, least=1) or len(shape) > 8:
        raise ArtifactError(f"{where}: shape must be at most 8 positive whole numbers")
    if type(bits) is not int:
        raise ArtifactError(f"{where}: bits must be a whole number")
    try:
        format_name(bits)
    except ArtifactError as error:
        raise ArtifactError(f"{where}: {error.message}") from error
    expected = CODERS.load(coder).num_streams(bits)
    if not _whole_numbers(lengths, least=0) or len(lengths) != expected:
        raise ArtifactError(f"{where}: expected {expected} stream lengths, none negative")
    return PayloadEntry(name=name, shape=tuple(shape), bits=bits, stream_bytes=tuple(lengths))


def _check_sizes(header: PayloadHeader, payload_bytes: int) -> None:
    """Names unique, lengths exactly up to the end, and no more values than the payload can honestly hold."""
    if len(header.piece_bytes) != len(header.entries):
        raise ArtifactError("packed payload: a tensor name occurs twice")
    end = header.overhead_bytes + sum(header.piece_bytes.values())
    if end != payload_bytes:
        raise ArtifactError(f"packed payload: the streams end at byte {end}, the payload at {payload_bytes}")
    num_values = sum(math.prod(entry.shape) for entry in header.entries)
    if num_values > max_payload_values(payload_bytes):
        raise ArtifactError(
            f"packed payload: declares {num_values} values in {payload_bytes} bytes, "
            f"at most {max_payload_values(payload_bytes)} are accepted"
        )


def _compare_shapes(header: PayloadHeader, expected: Mapping[str, tuple[int, ...]]) -> None:
    found = {entry.name: entry.shape for entry in header.entries}
    for name in [*expected, *found]:
        if found.get(name) != expected.get(name):
            raise ArtifactError(
                f"packed payload, tensor {name!r}: shape {found.get(name, 'missing')}, "
                f"the model asks for {expected.get(name, 'no such tensor')}"
            )


def _whole_numbers(values: Any, *, least: int) -> bool:
    # The upper bound keeps sums and products printable: Python refuses to print numbers of thousands of digits.
    return isinstance(values, list) and all(type(value) is int and least <= value <= 1 << 40 for value in values)


def _canonical_json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=True)
