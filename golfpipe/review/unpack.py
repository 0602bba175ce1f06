"""Decode a packed model into one plain safetensors file of fp16 weights, for other tools.

golfpipe unpack artifacts/demo/pack
golfpipe unpack artifacts/demo/pack -o demo.safetensors

Weights of any model (golfpipe import --as weights) come back under their own names and in their own types instead.

The file is not an artifact, because rounding to fp16 breaks what each kind of model promises: a trained model its fp32
averages, a quantized one its codes, a packed one the bytes that count. A score belongs to the packed file. The metadata
names the architecture and the digest of that file.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from golfpipe.codec.state import is_state
from golfpipe.errors import GolfpipeError, StageFailed, UsageError
from golfpipe.loading.pieces import read_payload
from golfpipe.loading.weights import load_weights
from golfpipe.store.arrays import metadata_from_bytes
from golfpipe.store.artifact import Artifact, open_artifact
from golfpipe.store.files import make_folder, write_file, writing
from golfpipe.store.tensors import tensors_from_bytes, tensors_to_bytes
from golfpipe.weights.decompress import decompress

SUFFIX = ".safetensors"
FP16_MAX = torch.finfo(torch.float16).max


@dataclass(frozen=True, kw_only=True)
class Unpacked:
    """The file, and what rounding to fp16 did."""

    path: Path
    source: Artifact
    form: str
    """What is in the file, in words."""
    parameters: int
    file_bytes: int
    largest_error: float
    """The largest difference between a weight and the decoded fp32 value."""
    rounded_share: float
    """The share of weights that fp16 does not hold exactly."""


def unpack_model(packed: Path, out: Path | None = None) -> Unpacked:
    """Write the weights to `out`, by default `unpacked.safetensors` beside the artifact.

    Decoding checks the sha256, the container, and names, shapes and finiteness of every tensor. Raises ArtifactError
    for a packed model that fails, UsageError for an output that is a folder or that exists and is not what this model
    was unpacked to before, StageFailed for a weight beyond fp16.
    """
    source = open_artifact(packed, "packed_model")
    path = out if out is not None else source.path.resolve().parent / f"unpacked{SUFFIX}"
    if path.is_dir() or not path.name:
        raise UsageError(f"{path}: a folder, but unpack writes one file", hint=f"-o NAME{SUFFIX}", path=str(path))
    _check_place(path, source)
    if is_state(source.manifest.model):
        # Copies of what lies there under several names: a file of this form has no word for the same tensor.
        halves = weights = {name: tensor.clone() for name, tensor in decompress(read_payload(source)).items()}
        _check_names(halves, path)
        metadata: dict[str, Any] = {"packed_digest": source.manifest.digest}
    else:
        weights = load_weights(source)
        halves = {name: _half(name, weight) for name, weight in weights.items()}
        metadata = _metadata(source)
    content = tensors_to_bytes(halves, metadata)
    _check(content, halves, metadata, str(path))
    with writing(path):
        make_folder(path.parent)
    write_file(path, content)
    own = is_state(source.manifest.model)
    errors = [(halves[name].float() - weight).abs() for name, weight in weights.items()] if not own else []
    parameters = sum(weight.numel() for weight in weights.values())
    return Unpacked(
        path=path,
        source=source,
        form="weights in their own types" if own else "fp16 weights",
        parameters=parameters,
        file_bytes=len(content),
        largest_error=max((float(error.max()) for error in errors), default=0.0),
        rounded_share=sum(int((error > 0).sum()) for error in errors) / max(parameters, 1),
    )


def _check_place(path: Path, source: Artifact) -> None:
    """Raise UsageError for a file that another model was unpacked to, or that is something else."""
    if not path.exists():
        return
    try:
        before = metadata_from_bytes(path.read_bytes(), str(path)).get("packed_digest")
    except GolfpipeError:
        before = None
    if before != source.manifest.digest:
        what = f"weights of another model ({str(before)[:12]})" if before is not None else "something else"
        raise UsageError(
            f"{path}: holds {what}, and unpack replaces only what it wrote for {source.path}",
            hint=f"-o NAME{SUFFIX} names another file",
            path=str(path),
        )


def _check_names(tensors: dict[str, Tensor], path: Path) -> None:
    """Raise StageFailed for a name that no safetensors file can hold."""
    for name in tensors:
        try:
            name.encode()
        except UnicodeEncodeError:
            name = "__metadata__"
        if name == "__metadata__":
            raise StageFailed(
                f"{path}: a tensor's name is none that safetensors holds",
                hint="golfpipe.decompress of the payload gives all tensors in Python",
            )


def _half(name: str, weight: Tensor) -> Tensor:
    largest = float(weight.abs().max())
    if largest > FP16_MAX:
        raise StageFailed(f"{name}: holds {largest:g}, beyond the largest fp16 value {FP16_MAX:g}")
    return weight.to(torch.float16)


def _metadata(source: Artifact) -> dict[str, Any]:
    return {"model": source.manifest.model, "packed_digest": source.manifest.digest}


def _check(content: bytes, halves: dict[str, Tensor], metadata: dict[str, Any], name: str) -> None:
    """Check that the file reads back as what was meant. Raises StageFailed."""
    back = tensors_from_bytes(content, name)
    same = back.keys() == halves.keys() and all(_same(back[key], half) for key, half in halves.items())
    if not same or metadata_from_bytes(content, name) != json.loads(json.dumps(metadata)):
        raise StageFailed(f"{name}: the file reads back as something else; this is a bug in golfpipe")


def _same(left: Tensor, right: Tensor) -> bool:
    """Return True for the same type, shape and bits; NaN is like NaN."""
    return (
        left.dtype == right.dtype
        and torch.equal(
            left.contiguous().reshape(-1).view(torch.uint8), right.contiguous().reshape(-1).view(torch.uint8)
        )
        and left.shape == right.shape
    )
