"""numpy arrays in safetensors files, byte for byte as tensors give them, but without the slow import of torch.

All text metadata goes under one key: the library writes several keys in the order of a hash map, which differs from
process to process, and equal content must have equal bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from golfpipe.errors import ArtifactError
from golfpipe.store.canonical import canonical_json, parse_json

METADATA_KEY = "golfpipe"
MAX_HEADER_BYTES = 32_000_000
"""The most header bytes that are read, far above real ones; parsing more would cost gigabytes."""


def arrays_to_bytes(arrays: Mapping[str, np.ndarray], metadata: dict[str, Any] | None = None) -> bytes:
    """Return one safetensors file as bytes; equal input gives equal bytes."""
    contiguous = {name: np.ascontiguousarray(array).reshape(array.shape) for name, array in arrays.items()}
    return safetensors.numpy.save(contiguous, metadata=metadata_text(metadata))


def arrays_from_bytes(content: bytes, name: str) -> dict[str, np.ndarray]:
    """Read a safetensors file. Raises ArtifactError naming `name` for anything but a well-formed one of numpy's
    dtypes."""
    try:
        return safetensors.numpy.load(content)
    except (safetensors.SafetensorError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise ArtifactError(f"{name}: not a readable safetensors file ({error})") from error


def metadata_text(metadata: dict[str, Any] | None) -> dict[str, str] | None:
    """Return the metadata in the form that the library takes."""
    return {METADATA_KEY: canonical_json(metadata)} if metadata is not None else None


def metadata_from_bytes(content: bytes, name: str) -> dict[str, Any]:
    """Return the metadata beside the tensors; {} where there is none. Raises ArtifactError naming `name`."""
    length = int.from_bytes(content[:8], "little")
    if len(content) < 8 or length > len(content) - 8:
        raise ArtifactError(f"{name}: safetensors header of {length} bytes in a file of {len(content)} bytes")
    if length > MAX_HEADER_BYTES:
        raise ArtifactError(f"{name}: safetensors header of {length} bytes, at most {MAX_HEADER_BYTES} are read")
    header = parse_json(content[8 : 8 + length], f"{name} header")
    texts = header.get("__metadata__", {}) if isinstance(header, dict) else None
    text = texts.get(METADATA_KEY, "{}") if isinstance(texts, dict) else None
    if not isinstance(text, str):
        raise ArtifactError(f"{name}: the safetensors header holds no text metadata")
    metadata = parse_json(text, f"{name} metadata")
    if not isinstance(metadata, dict):
        raise ArtifactError(f"{name}: metadata is not an object")
    return metadata
