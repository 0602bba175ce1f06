"""The weights of any model artifact, as the network takes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from golfpipe.codec.container import decode_payload
from golfpipe.codec.pieces import Piece
from golfpipe.config.schema import Plain, build_config
from golfpipe.data.tokenizer import Tokenizer
from golfpipe.errors import ArtifactError, ConfigError, DataError
from golfpipe.model.config import ModelConfig, parameter_shapes
from golfpipe.quant.export import dequantize_weights
from golfpipe.store.artifact import Artifact
from golfpipe.store.tensors import check_tensors, metadata_from_bytes, tensors_from_bytes

COMPUTE_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def model_config(artifact: Artifact) -> ModelConfig:
    """The architecture that the manifest carries. Raises ArtifactError."""
    if artifact.manifest.model is None:
        raise ArtifactError(f"{artifact.path}: the manifest has no architecture")
    return parse_model(artifact.manifest.model, str(artifact.path))


def parse_model(model: Plain, name: str) -> ModelConfig:
    """An architecture from plain values. Raises ArtifactError naming `name`."""
    try:
        return build_config({"model": model}).model
    except ConfigError as error:
        raise ArtifactError(f"{name}: field model: {error.message}") from error


def load_weights(artifact: Artifact) -> dict[str, Tensor]:
    """fp32 weights of a trained, quantized, packed or adapted model: exact names and shapes, finite values.

    Quantized and packed models give the same values to the last bit. Raises ArtifactError.
    """
    shapes = parameter_shapes(model_config(artifact))
    readers: dict[str, Callable[[Artifact], dict[str, Tensor]]] = {
        "trained_model": lambda a: a.read_tensors("ema.safetensors"),
        "quantized_model": lambda a: dequantize_weights(read_pieces(a)),
        "packed_model": lambda a: dequantize_weights(read_packed(a)),
        "adapted_model": lambda a: a.read_tensors("adapted.safetensors"),
    }
    weights = readers[artifact.manifest.kind](artifact)
    check_tensors(weights, shapes, str(artifact.path), dtype=torch.float32)
    return {name: weights[name] for name in shapes}


def pieces_to_tensors(pieces: Mapping[str, Piece]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and metadata of quantized.safetensors: `<name>.codes` int8 and `<name>.scales` fp16 [R, 1], or
    `<name>.floats`; the metadata lists name, shape and bits in order."""
    tensors = {
        f"{name}.{part}": torch.from_numpy(array)
        for name, piece in pieces.items()
        for part, array in (("codes", piece.codes), ("scales", piece.scales), ("floats", piece.floats))
        if array is not None
    }
    return tensors, {"pieces": [[piece.name, list(piece.shape), piece.bits] for piece in pieces.values()]}


def read_pieces(artifact: Artifact) -> dict[str, Piece]:
    """The codes and scales of a quantized model, checked. Raises ArtifactError."""
    name = str(artifact.path / "quantized.safetensors")
    content = artifact.read("quantized.safetensors")
    tensors, listed = tensors_from_bytes(content, name), metadata_from_bytes(content, name).get("pieces")
    shapes = parameter_shapes(model_config(artifact))
    if not isinstance(listed, list):
        raise ArtifactError(f"{name}: metadata holds no list of pieces")
    pieces: dict[str, Piece] = {}
    for entry in listed:
        match entry:
            case [str(key), list(shape), int(bits)] if key not in pieces and tuple(shape) == shapes.get(key):
                parts = {p: tensors.pop(f"{key}.{p}", None) for p in ("codes", "scales", "floats")}
                arrays = {p: None if tensor is None else tensor.numpy() for p, tensor in parts.items()}
                pieces[key] = Piece(name=key, shape=tuple(shape), bits=bits, **arrays)
            case _:
                raise ArtifactError(f"{name}: piece {entry!r} does not belong to this architecture")
    if pieces.keys() != shapes.keys() or tensors:
        raise ArtifactError(
            f"{name}: tensors {sorted(set(tensors) | (shapes.keys() - pieces.keys()))} missing or left over"
        )
    return pieces


def read_packed(artifact: Artifact) -> dict[str, Piece]:
    """The pieces inside packed.safetensors, checked against the architecture that it names itself."""
    name = str(artifact.path / "packed.safetensors")
    tensors = tensors_from_bytes(artifact.read("packed.safetensors"), name)
    payload = tensors.get("payload")
    if tensors.keys() != {"payload"} or payload is None or payload.dtype != torch.uint8 or payload.ndim != 1:
        raise ArtifactError(f"{name}: expected one uint8 tensor `payload`, found {sorted(tensors)}")
    model, pieces = decode_payload(
        payload.numpy().tobytes(), shapes_of_model=lambda found: parameter_shapes(parse_model(found, name))
    )
    if model != artifact.manifest.model:
        raise ArtifactError(f"{name}: the architecture inside differs from the manifest's")
    return pieces


def check_vocabulary(config: ModelConfig, tokenizer: Tokenizer) -> None:
    """Refuse a tokenizer of another size or another BOS id than the model's. Raises DataError."""
    if config.vocab_size != tokenizer.vocab_size:
        raise DataError(
            f"{tokenizer.name}: {tokenizer.vocab_size} pieces, but model.vocab_size={config.vocab_size}",
            hint=f"--set model.vocab_size={tokenizer.vocab_size}, or other data",
        )
    if config.bos_id != tokenizer.bos_id:
        raise DataError(
            f"{tokenizer.name}: BOS is piece {tokenizer.bos_id}, but model.bos_id={config.bos_id}",
            hint=f"--set model.bos_id={tokenizer.bos_id}",
        )
