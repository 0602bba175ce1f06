"""The size and weights that PR 951's own path gives: its clip grid, its pruning, its layout, zstd level 22.

Its pickled dictionary is replaced by plain concatenation, entry after entry in the model's order: int4 codes two to a
byte, int6 codes a byte each, fp16 scales, fp16 floats. Known sizes: 21.0 MB (16l after a short training) and 22.5 MB
(16l, Gaussian weights), 669,000 bytes (tiny).
"""

from __future__ import annotations

from collections.abc import Mapping

import zstandard
from torch import Tensor

from golfpipe.codec.nibble import pack_int4
from golfpipe.codec.pieces import Piece
from golfpipe.config.resolve import load_stages, resolve_config
from golfpipe.model.config import ModelConfig, possible_names
from golfpipe.quant.export import dequantize_weights, quantize_weights

ZSTD_LEVEL = 22


def reference_pieces(weights: Mapping[str, Tensor], model: ModelConfig) -> dict[str, Piece]:
    """Codes and scales as the PR chooses them (preset `pr951`)."""
    config = resolve_config(load_stages(), preset="pr951").config.quantize
    return quantize_weights(weights, config, universe=possible_names(model)).pieces


def reference_bytes(pieces: Mapping[str, Piece], level: int = ZSTD_LEVEL) -> int:
    """Bytes of the compressed dictionary."""
    parts: list[bytes] = []
    for name, piece in pieces.items():
        parts.append(f"{name} {list(piece.shape)} {piece.bits}\n".encode())
        if piece.floats is not None:
            parts.append(piece.floats.tobytes())
            continue
        assert piece.codes is not None and piece.scales is not None
        parts.append((pack_int4(piece.codes) if piece.bits == 4 else piece.codes).tobytes())
        parts.append(piece.scales.tobytes())
    return len(zstandard.ZstdCompressor(level=level).compress(b"".join(parts)))


def reference_path(weights: Mapping[str, Tensor], model: ModelConfig) -> tuple[int, dict[str, Tensor]]:
    """(bytes, the weights that come back)."""
    pieces = reference_pieces(weights, model)
    return reference_bytes(pieces), dequantize_weights(pieces)
