"""Bytes to arrays, for readers that shall do without torch."""

from __future__ import annotations

import numpy as np

from golfpipe.codec.state import StoredTensor, decode_state

_BFLOAT16 = "bfloat16"
_LARGEST = {_BFLOAT16: 2.0**128 - 2.0**120, "float16": 65504.0}
"""The largest finite numbers: a code may lie beyond it, where its weight did not."""


def decompress(data: bytes) -> dict[str, np.ndarray]:
    """Return the arrays of what `compress` made the bytes from: names, shapes and types as they were.

    NumPy has no bf16: these numbers come as fp32, which holds each of them exactly. Raises TypeError for fp8 and
    complex32, which NumPy does not have either. A tensor that was there under two names is one array. A packed model of
    golfpipe gives its weights in fp32.
    """
    arrays: dict[str, np.ndarray] = {}
    lines: list[np.ndarray] = []
    for stored, values in decode_state(bytes(data)):
        array = lines[stored.same_as] if values is None and stored.same_as is not None else _array(stored, values)
        lines.append(array)
        arrays[stored.name] = array
    return arrays


def _array(stored: StoredTensor, values: np.ndarray | None) -> np.ndarray:
    assert values is not None
    if stored.dtype.startswith("float8") or stored.dtype == "complex32":
        raise TypeError(f"{stored.name}: NumPy has no {stored.dtype}; a reader that is not pure gives it")
    is_bfloat16 = stored.dtype == _BFLOAT16
    if not stored.num_values:
        return np.empty(stored.shape, np.float32 if is_bfloat16 else stored.dtype)
    if values.dtype == np.uint8:
        if is_bfloat16:
            return _from_high_halves(values.view(np.uint16)).reshape(stored.shape)
        return values.view(stored.dtype).reshape(stored.shape)
    if stored.dtype in _LARGEST:
        values = values.clip(-_LARGEST[stored.dtype], _LARGEST[stored.dtype])
    return _rounded_to_bfloat16(values) if is_bfloat16 else values.astype(stored.dtype, order="C")


def _rounded_to_bfloat16(values: np.ndarray) -> np.ndarray:
    """Return finite fp32 numbers rounded to bf16, halves to even."""
    bits = values.astype(np.float32, order="C").view(np.uint32)
    return _from_high_halves((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16)


def _from_high_halves(halves: np.ndarray) -> np.ndarray:
    """Return the fp32 numbers whose high 16 bits these are, and whose low ones are zeros."""
    return (halves.astype(np.uint32) << 16).view(np.float32)
