"""Architecture and stored pieces of an artifact. Torch-free: packing needs only numpy and the coder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from golfpipe.codec.container import decode_payload, payload_pieces, read_header
from golfpipe.codec.pieces import Piece
from golfpipe.codec.state import is_state, read_tensors
from golfpipe.config.later import plain_model
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
    refuse_bare_weights(artifact)
    if artifact.manifest.model is None:
        raise ArtifactError(f"{artifact.path}: the manifest has no architecture")
    return parse_model(artifact.manifest.model, str(artifact.path))


def refuse_bare_weights(artifact: Artifact) -> None:
    """Raise ArtifactError for imported weights in any form: without an architecture nothing can run them."""
    if artifact.manifest.kind == "weights" or is_state(artifact.manifest.model):
        raise ArtifactError(
            f"{artifact.path}: weights without an architecture, which golfpipe cannot run",
            hint="score them in your own script: `golfpipe unpack` writes a packed model as safetensors of their names",
            path=str(artifact.path),
        )


def architecture(artifact: Artifact) -> Plain:
    """Return what a payload says of its model: golfpipe's architecture, checked, or the tensors of a state dict.

    Raises ArtifactError.
    """
    model = artifact.manifest.model
    return model if model is not None and is_state(model) else plain_model(model_config(artifact))


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
    model = artifact.manifest.model
    shapes = parameter_shapes(model_config(artifact)) if not is_state(model) else None
    if not isinstance(listed, list):
        raise ArtifactError(f"{name}: metadata holds no list of pieces")
    pieces: dict[str, Piece] = {}
    for entry in listed:
        match entry:
            case [str(key), list(shape), int(bits)] if key not in pieces and (
                key == str(len(pieces)) if shapes is None else tuple(shape) == shapes.get(key)
            ):
                parts = {part: stored.pop(f"{key}.{part}", None) for part in ("codes", "scales", "floats", "raw")}
                with _naming(name):
                    pieces[key] = Piece(name=key, shape=tuple(shape), bits=bits, **parts)
            case _:
                raise ArtifactError(f"{name}: piece {entry!r} does not belong to this architecture")
    missing = shapes.keys() - pieces.keys() if shapes is not None else set()
    if missing or stored:
        raise ArtifactError(f"{name}: tensors {sorted(set(stored) | missing)} missing or left over")
    if model is not None and is_state(model):
        with _naming(name):
            read_tensors(model, pieces.values())
    return pieces


def pieces_by_tensor(model: Plain, pieces: Mapping[str, Piece]) -> dict[str, list[Piece]]:
    """Return the pieces of each tensor, in order: one for each of an architecture's. Raises ArtifactError."""
    if not is_state(model):
        return {name: [piece] for name, piece in pieces.items()}
    waiting = iter(pieces.values())
    tensors = read_tensors(model, pieces.values())
    return {tensor.name: [next(waiting) for _ in range(tensor.pieces)] for tensor in tensors}


def read_payload(artifact: Artifact) -> bytes:
    """Return the payload in packed.safetensors, not checked itself. Raises ArtifactError."""
    name = str(artifact.path / "packed.safetensors")
    stored = arrays_from_bytes(artifact.read("packed.safetensors"), name)
    payload = stored.get("payload")
    if stored.keys() != {"payload"} or payload is None or payload.dtype != np.uint8 or payload.ndim != 1:
        raise ArtifactError(f"{name}: expected one uint8 tensor `payload`, found {sorted(stored)}")
    return payload.tobytes()


def read_packed(artifact: Artifact) -> dict[str, Piece]:
    """Read the pieces in packed.safetensors, and check them with the payload's architecture. Raises ArtifactError."""
    name = str(artifact.path / "packed.safetensors")
    payload = read_payload(artifact)
    source = artifact.manifest.input("model")
    with _naming(name, hint=f"write it again: golfpipe pack {source.path if source is not None else 'QUANTIZED'}"):
        model, pieces = _decode(payload)
    if model != artifact.manifest.model:
        raise ArtifactError(f"{name}: the architecture inside differs from the manifest's")
    return pieces


def _decode(payload: bytes) -> tuple[Plain, dict[str, Piece]]:
    header = read_header(payload)
    if not is_state(header.model):
        return decode_payload(
            payload, shapes_of_model=lambda found: parameter_shapes(parse_model(found, "the payload"))
        )
    read_tensors(header.model, header.entries)
    return header.model, {piece.name: piece for piece in payload_pieces(payload, header)}


@contextmanager
def _naming(name: str, hint: str | None = None) -> Iterator[None]:
    """Put the file's name, which the cores do not know, into errors that they raise inside the `with` block."""
    try:
        yield
    except ArtifactError as error:
        raise ArtifactError(f"{name}: {error.message}", hint=error.hint or hint, path=name) from error
