"""Tensors in safetensors files, checked when read.

All text metadata goes under one key: the library writes several keys in the order of a hash map, which differs from
process to process, and equal content must have equal bytes.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy
import safetensors.torch
import torch
from torch import Tensor

from golfpipe.errors import ArtifactError
from golfpipe.store.canonical import canonical_json, parse_json

METADATA_KEY = "golfpipe"
MAX_HEADER_BYTES = 32_000_000
"""Names of tensors and metadata take far less; parsing more would cost gigabytes."""


def tensors_to_bytes(tensors: dict[str, Tensor], metadata: dict[str, Any] | None = None) -> bytes:
    """One safetensors file as bytes; equal input gives equal bytes."""
    text = {METADATA_KEY: canonical_json(metadata)} if metadata is not None else None
    on_host = {name: tensor.detach().to("cpu").contiguous() for name, tensor in tensors.items()}
    return safetensors.torch.save(on_host, metadata=text)


def tensors_from_bytes(content: bytes, name: str) -> dict[str, Tensor]:
    """Read a safetensors file. Raises ArtifactError naming `name` for anything but a well-formed one."""
    try:
        return safetensors.torch.load(content)
    except (safetensors.SafetensorError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise ArtifactError(f"{name}: not a readable safetensors file ({error})") from error


def metadata_from_bytes(content: bytes, name: str) -> dict[str, Any]:
    """The metadata that `tensors_to_bytes` wrote; {} where there is none. Raises ArtifactError."""
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


def check_tensors(
    tensors: dict[str, Tensor], shapes: dict[str, tuple[int, ...]], name: str, *, dtype: torch.dtype | None = None
) -> None:
    """Exact names and shapes, finite values, and `dtype` where given. Raises ArtifactError naming file and tensor."""
    for missing in sorted(shapes.keys() - tensors.keys()):
        raise ArtifactError(f"{name}: tensor {missing} is missing")
    for extra in sorted(tensors.keys() - shapes.keys()):
        raise ArtifactError(f"{name}: tensor {extra} does not belong to this architecture")
    for key, tensor in tensors.items():
        if tuple(tensor.shape) != shapes[key]:
            raise ArtifactError(f"{name}: tensor {key} has shape {list(tensor.shape)}, expected {list(shapes[key])}")
        if dtype is not None and tensor.dtype != dtype:
            raise ArtifactError(f"{name}: tensor {key} is {tensor.dtype}, expected {dtype}")
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise ArtifactError(f"{name}: tensor {key} holds NaN or infinite values")


def json_to_tensor(value: Any) -> Tensor:
    """A JSON value as a byte tensor, to travel inside a tensor file."""
    return torch.from_numpy(np.frombuffer(json.dumps(value, sort_keys=True).encode(), dtype=np.uint8).copy())


def tensor_to_json(tensor: Tensor, name: str) -> Any:
    """Inverse of `json_to_tensor`. Raises ArtifactError naming `name`."""
    return parse_json(tensor.numpy().tobytes(), name)
