"""The weights of any model artifact, as the network takes them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from golfpipe.codec.state import WEIGHTS, read_lines
from golfpipe.data.tokenizer import Tokenizer
from golfpipe.errors import ArtifactError, DataError
from golfpipe.loading.pieces import model_config, read_packed, read_pieces
from golfpipe.model.config import ModelConfig, parameter_shapes
from golfpipe.quant.dequantize import dequantize_weights
from golfpipe.store.arrays import metadata_from_bytes
from golfpipe.store.artifact import Artifact
from golfpipe.store.tensors import check_tensors, tensors_from_bytes

COMPUTE_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def load_weights(artifact: Artifact) -> dict[str, Tensor]:
    """Return the weights of any model in fp32, with names, shapes and finiteness checked.

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


def load_state(artifact: Artifact) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return imported weights by name, as they were, and the texts of their rules. Raises ArtifactError."""
    name = str(artifact.path / "weights.safetensors")
    content = artifact.read("weights.safetensors")
    tensors, metadata = tensors_from_bytes(content, name), metadata_from_bytes(content, name)
    rules, lines = metadata.get("rules"), metadata.get(WEIGHTS)
    if not isinstance(rules, dict) or not all(isinstance(rule, str) for rule in rules.values()):
        raise ArtifactError(f"{name}: metadata holds no rules", path=name)
    state: dict[str, Tensor] = {}
    for number, line in enumerate(read_lines({WEIGHTS: lines})):
        tensor = tensors.get(str(number if line.same_as is None else line.same_as))
        if tensor is None or tuple(tensor.shape) != line.shape or str(tensor.dtype) != f"torch.{line.dtype}":
            raise ArtifactError(
                f"{name}: tensor {line.name[:100]!r} is missing, or of another shape or type", path=name
            )
        state[line.name] = tensor
    return state, rules


def check_vocabulary(config: ModelConfig, tokenizer: Tokenizer) -> None:
    """Check that the tokenizer has the size and the BOS id of the model. Raises DataError."""
    if config.vocab_size != tokenizer.vocab_size:
        raise DataError(
            f"{tokenizer.name}: {tokenizer.vocab_size} pieces, but model.vocab_size={config.vocab_size}",
            hint=f"train with --set model.vocab_size={tokenizer.vocab_size}, or take data of another tokenizer",
        )
    if config.bos_id != tokenizer.bos_id:
        raise DataError(
            f"{tokenizer.name}: BOS is piece {tokenizer.bos_id}, but model.bos_id={config.bos_id}",
            hint=f"--set model.bos_id={tokenizer.bos_id}",
        )
