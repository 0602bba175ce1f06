"""Architecture and stored pieces of an artifact. Torch-free: packing needs only numpy and the coder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from golfpipe.codec.container import decode_payload
from golfpipe.codec.pieces import Piece
from golfpipe.config.schema import Plain, build_config
from golfpipe.errors import ArtifactError, ConfigError
from golfpipe.model.config import ModelConfig, parameter_shapes
from golfpipe.store.arrays import arrays_from_bytes, arrays_to_bytes, metadata_from_bytes
from golfpipe.store.artifact import Artifact


def packed_file(payload: bytes) -> bytes:
    """Return the content of packed.safetensors: the payload as one uint8 tensor."""
    return arrays_to_bytes({"payload": np.frombuffer(payload, dtype=np.uint8)})


def model_config(artifact: Artifact) -> ModelConfig:
    """Return the architecture that the manifest carries. Raises ArtifactError."""
    if artifact.manifest.model is None:
        raise ArtifactError(f"{artifact.path}: the manifest has no architecture")
    return parse_model(artifact.manifest.model, str(artifact.path))


def parse_model(model: Plain, name: str) -> ModelConfig:
    """Build an architecture from plain values. Raises ArtifactError naming `name`."""
    try:
        return build_config({"model": model}).model
    except ConfigError as error:
        raise ArtifactError(f"{name}: field model: {error.message}") from error


def pieces_to_arrays(pieces: Mapping[str, Piece]) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return the arrays and the metadata of quantized.safetensors: `<name>.codes` int8 and `<name>.scales` fp16 [R, 1],
    or `<name>.floats`. The metadata lists name, shape and bits in order."""
    arrays = {f"{name}.{part}": array for name, piece in pieces.items() for part, array in piece.arrays.items()}
    return arrays, {"pieces": [[piece.name, list(piece.shape), piece.bits] for piece in pieces.values()]}


def read_pieces(artifact: Artifact) -> dict[str, Piece]:
    """Read and check the codes and scales of a quantized model. Raises ArtifactError."""
    name = str(artifact.path / "quantized.safetensors")
    content = artifact.read("quantized.safetensors")
    stored, listed = arrays_from_bytes(content, name), metadata_from_bytes(content, name).get("pieces")
    shapes = parameter_shapes(model_config(artifact))
    if not isinstance(listed, list):
        raise ArtifactError(f"{name}: metadata holds no list of pieces")
    pieces: dict[str, Piece] = {}
    for entry in listed:
        match entry:
            case [str(key), list(shape), int(bits)] if key not in pieces and tuple(shape) == shapes.get(key):
                parts = {part: stored.pop(f"{key}.{part}", None) for part in ("codes", "scales", "floats")}
                with _naming(name):
                    pieces[key] = Piece(name=key, shape=tuple(shape), bits=bits, **parts)
            case _:
                raise ArtifactError(f"{name}: piece {entry!r} does not belong to this architecture")
    if pieces.keys() != shapes.keys() or stored:
        raise ArtifactError(
            f"{name}: tensors {sorted(set(stored) | (shapes.keys() - pieces.keys()))} missing or left over"
        )
    return pieces


def read_packed(artifact: Artifact) -> dict[str, Piece]:
    """Read the pieces in packed.safetensors, and check them with the payload's architecture. Raises ArtifactError."""
    name = str(artifact.path / "packed.safetensors")
    stored = arrays_from_bytes(artifact.read("packed.safetensors"), name)
    payload = stored.get("payload")
    if stored.keys() != {"payload"} or payload is None or payload.dtype != np.uint8 or payload.ndim != 1:
        raise ArtifactError(f"{name}: expected one uint8 tensor `payload`, found {sorted(stored)}")
    source = artifact.manifest.input("model")
    with _naming(name, hint=f"write it again: golfpipe pack {source.path if source is not None else 'QUANTIZED'}"):
        model, pieces = decode_payload(
            payload.tobytes(), shapes_of_model=lambda found: parameter_shapes(parse_model(found, "the payload"))
        )
    if model != artifact.manifest.model:
        raise ArtifactError(f"{name}: the architecture inside differs from the manifest's")
    return pieces


@contextmanager
def _naming(name: str, hint: str | None = None) -> Iterator[None]:
    """Put the file's name, which the cores do not know, into errors that they raise inside the `with` block."""
    try:
        yield
    except ArtifactError as error:
        raise ArtifactError(f"{name}: {error.message}", hint=error.hint or hint, path=name) from error
