"""Tensors in safetensors files, checked when they are read."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from golfpipe.errors import ArtifactError, DataError
from golfpipe.store.arrays import metadata_text
from golfpipe.store.canonical import canonical_json


def tensors_to_bytes(tensors: dict[str, Tensor], metadata: dict[str, Any] | None = None) -> bytes:
    """Return one safetensors file as bytes; equal input gives equal bytes. Raises DataError as `check_storable`."""
    check_storable(tensors)
    on_host = {name: tensor.detach().to("cpu").contiguous() for name, tensor in tensors.items()}
    return safetensors.torch.save(on_host, metadata=metadata_text(metadata))


def check_storable(tensors: Mapping[str, Tensor]) -> None:
    """Check that safetensors has the types of all tensors. Raises DataError naming the first whose type it lacks."""
    for name, tensor in tensors.items():
        if not _is_storable(tensor.dtype):
            raise DataError(
                f"tensor {name}: safetensors files hold no numbers of type {tensor.dtype}",
                hint="golfpipe.compress takes them, in Python",
            )


@functools.cache
def _is_storable(dtype: torch.dtype) -> bool:
    try:
        safetensors.torch.save({"": torch.zeros(0, dtype=torch.uint8).view(dtype)})
    except KeyError:
        return False
    return True


def tensors_from_bytes(content: bytes, name: str) -> dict[str, Tensor]:
    """Read a safetensors file. Raises ArtifactError naming `name` for anything but a well-formed one."""
    try:
        return safetensors.torch.load(content)
    except (safetensors.SafetensorError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise ArtifactError(f"{name}: not a readable safetensors file ({error})") from error


def seal(tensors: dict[str, Tensor], values: dict[str, Any]) -> str:
    """Return the sha256 over all of the tensors and over `values`, for a file that no manifest covers."""
    digest = hashlib.sha256(canonical_json(values).encode())
    for name in sorted(tensors):
        tensor = tensors[name].detach().to("cpu").contiguous()
        digest.update(canonical_json([name, str(tensor.dtype), list(tensor.shape)]).encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def check_tensors(
    tensors: dict[str, Tensor], shapes: dict[str, tuple[int, ...]], name: str, *, dtype: torch.dtype | None = None
) -> None:
    """Check that names and shapes are exactly those of `shapes`, values finite, and dtypes `dtype` where given. Raises
    ArtifactError naming file and tensor."""
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
