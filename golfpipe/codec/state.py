"""A state dict in a payload: which pieces make up which tensor, and its name, type, shape and place.

The payload's description is {"weights": [LINE, ...]} with a line for each tensor, in the order of the state dict:

    [name, dtype, shape, pieces, axis]   the values of the next `pieces` pieces, one after the other, are those of the
                                         tensor with this axis moved to the front
    [name, number]                       the same tensor as that of line `number`, counted from 0

Pieces have numbers for names. Exact pieces hold the tensor's bytes; all others the fp32 numbers that are then rounded
to its type, which is a float type.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from golfpipe.codec.container import PayloadEntry, PayloadHeader, payload_pieces, read_header
from golfpipe.codec.formats import format_of
from golfpipe.codec.pieces import EXACT_DTYPES
from golfpipe.errors import ArtifactError

# Shapes: N values of a tensor

DTYPE_BYTES = {
    **dict.fromkeys(("float64", "complex64", "int64", "uint64"), 8),
    **dict.fromkeys(("float32", "complex32", "int32", "uint32"), 4),
    **dict.fromkeys(("float16", "bfloat16", "int16", "uint16"), 2),
    **dict.fromkeys(("int8", "uint8", "bool"), 1),
    **dict.fromkeys(("float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu"), 1),
    "complex128": 16,
}
"""PyTorch's name of each type that can be stored -> its bytes."""
WEIGHTS = "weights"
"""The one key of the description."""
_MAX_AXES = 64
_MAX_VALUES = 1 << 40


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredTensor:
    """One line of the description."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    pieces: int
    axis: int = 0
    same_as: int | None = None
    """The line of the tensor that this one is; it then has no pieces of its own."""

    @property
    def num_values(self) -> int:
        return math.prod(self.shape)


class Stored(Protocol):
    """A piece, or what a payload's header says of one."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def bits(self) -> int: ...


def is_state(model: Mapping[str, Any] | None) -> bool:
    """Return True for the description of a state dict, False for an architecture of golfpipe."""
    return model is not None and model.keys() == {WEIGHTS}


def describe(tensors: Iterable[StoredTensor]) -> dict[str, Any]:
    """Return the description of a payload that holds these tensors."""
    return {
        WEIGHTS: [
            [tensor.name, tensor.same_as]
            if tensor.same_as is not None
            else [tensor.name, tensor.dtype, list(tensor.shape), tensor.pieces, tensor.axis]
            for tensor in tensors
        ]
    }


def read_tensors(model: Mapping[str, Any], entries: Iterable[Stored]) -> list[StoredTensor]:
    """Read the lines of a description and check that the pieces are exactly theirs. Raises ArtifactError."""
    tensors = read_lines(model)
    waiting = list(entries)[::-1]
    for tensor in tensors:
        own = [waiting.pop() for _ in range(min(tensor.pieces, len(waiting)))]
        held = sum(math.prod(entry.shape) * _value_bytes(entry, tensor.dtype) for entry in own)
        expected = 0 if tensor.same_as is not None else tensor.num_values * DTYPE_BYTES[tensor.dtype]
        exact = sum(entry.bits in EXACT_DTYPES for entry in own)
        fits = exact == len(own) or (exact == 0 and tensor.dtype.startswith(("float", "bfloat")))
        if len(own) != tensor.pieces or held != expected or not fits:
            raise ArtifactError(
                f"packed payload, tensor {tensor.name[:100]!r}: {len(own)} pieces of {held} bytes in all, expected"
                f" {tensor.pieces} pieces of one kind and {expected} bytes for {list(tensor.shape)[:8]} numbers of"
                f" {tensor.dtype}"
            )
    if waiting:
        raise ArtifactError(f"packed payload: {len(waiting)} pieces belong to no tensor")
    return tensors


def read_lines(model: Mapping[str, Any]) -> list[StoredTensor]:
    """Read the lines of a description alone. Raises ArtifactError."""
    lines = model.get(WEIGHTS)
    if not is_state(model) or not isinstance(lines, list):
        raise ArtifactError("packed payload: it describes an architecture of golfpipe, not the tensors of a state dict")
    tensors: list[StoredTensor] = []
    for line in lines:
        tensors.append(_read_line(line, tensors))
    if len({tensor.name for tensor in tensors}) != len(tensors):
        raise ArtifactError("packed payload: a tensor name occurs twice")
    return tensors


def decode_state(payload: bytes) -> Iterator[tuple[StoredTensor, np.ndarray | None]]:
    """Decode the tensors one by one, in the order of the state dict; those of a packed model of golfpipe are fp32.

    The values are fp32 of the tensor's shape, to be rounded to its type, or uint8 where they are the tensor's bytes;
    None for a tensor that is the same as an earlier one. Raises ArtifactError for anything that is not exactly a
    payload.
    """
    header = read_header(payload)
    tensors = read_tensors(header.model, header.entries) if is_state(header.model) else _model_tensors(header.entries)
    return _decoded(payload, header, tensors)


def _model_tensors(entries: Iterable[PayloadEntry]) -> list[StoredTensor]:
    """Return the tensors of a packed model, which are a piece each. Raises ArtifactError for exact pieces, whose type
    no architecture tells."""
    for entry in entries:
        if entry.bits in EXACT_DTYPES:
            raise ArtifactError(f"packed payload, tensor {entry.name!r}: bits of numbers whose type is not known")
    return [StoredTensor(name=entry.name, dtype="float32", shape=entry.shape, pieces=1) for entry in entries]


def _decoded(
    payload: bytes, header: PayloadHeader, tensors: list[StoredTensor]
) -> Iterator[tuple[StoredTensor, np.ndarray | None]]:
    pieces = payload_pieces(payload, header)
    for tensor in tensors:
        if tensor.same_as is not None:
            yield tensor, None
            continue
        parts = (next(pieces) for _ in range(tensor.pieces))
        found = [format_of(piece.bits).weights(piece).reshape(-1) for piece in parts]
        if not found or found[0].dtype != np.float32:  # the bytes of exact pieces, or of a tensor without values
            found = [np.empty(0, dtype=np.uint8)] if not found else [values.view(np.uint8) for values in found]
        values_N = found[0] if len(found) == 1 else np.concatenate(found)
        if values_N.dtype == np.uint8:
            yield tensor, values_N
        else:
            shape, axis = tensor.shape, tensor.axis
            values = values_N.reshape(shape[axis : axis + 1] + shape[:axis] + shape[axis + 1 :])
            yield tensor, np.moveaxis(values, 0, axis) if axis else values


def _value_bytes(entry: Stored, dtype: str) -> int:
    """Return how many of a tensor's bytes a value of the piece stands for."""
    return np.dtype(EXACT_DTYPES[entry.bits]).itemsize if entry.bits in EXACT_DTYPES else DTYPE_BYTES[dtype]


def _read_line(line: Any, before: list[StoredTensor]) -> StoredTensor:
    match line:
        case [str(name), int(same_as)] if type(same_as) is int and 0 <= same_as < len(before):
            first = before[same_as]
            if first.same_as is None:
                return StoredTensor(name=name, dtype=first.dtype, shape=first.shape, pieces=0, same_as=same_as)
        case [str(name), str(dtype), list(shape), int(pieces), int(axis)] if (
            dtype in DTYPE_BYTES
            and len(shape) <= _MAX_AXES
            and all(type(size) is int and size >= 0 for size in shape)
            and math.prod(size or 1 for size in shape) < _MAX_VALUES  # empty tensors have strides, too
            and type(pieces) is int
            and pieces >= 0
            and type(axis) is int
            and 0 <= axis < max(len(shape), 1)
        ):
            return StoredTensor(name=name, dtype=dtype, shape=tuple(shape), pieces=pieces, axis=axis)
    raise ArtifactError(
        f"packed payload: {str(line)[:100]} is no line of a state dict: [name, dtype, shape, pieces, axis], or [name,"
        " number of an earlier line]"
    )
