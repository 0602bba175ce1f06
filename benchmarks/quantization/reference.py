"""The size and weights that PR 951's own path gives: its clip grid, its pruning, its layout, zstd level 22.

Its pickled dictionary is replaced by plain concatenation, entry after entry in the model's order: int4 codes two to a
byte, int6 codes a byte each, fp16 scales, fp16 floats. Sizes that are known are checked: within 1 %, else exit 1.

python -m benchmarks.quantization.reference    # 16l, Gaussian weights; one core, a minute
python -m benchmarks.quantization.reference artifacts/tiny/train artifacts/16l/train
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import zstandard
from torch import Tensor

from benchmarks.models import gaussian_weights
from benchmarks.settings import preset
from golfpipe.codec.nibble import pack_int4
from golfpipe.codec.pieces import Piece
from golfpipe.loading.weights import load_weights, model_config
from golfpipe.model.config import ModelConfig, parameter_count, possible_names
from golfpipe.quant.dequantize import dequantize_weights
from golfpipe.quant.export import quantize_weights
from golfpipe.store.artifact import open_artifact

ZSTD_LEVEL = 22
KNOWN_TRAINED = {41_947_778: 21_000_000, 827_794: 669_000}
"""Parameters -> bytes after a training: of 16l after a short one, of tiny."""
KNOWN_GAUSSIAN = 22_500_000
"""16l with Gaussian weights, the worst case."""


def reference_pieces(weights: Mapping[str, Tensor], model: ModelConfig) -> dict[str, Piece]:
    """Codes and scales as the PR chooses them (preset `pr951`)."""
    return quantize_weights(weights, preset("pr951").quantize, universe=possible_names(model)).pieces


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


def main() -> None:
    cases: list[tuple[str, Mapping[str, Tensor], ModelConfig, int | None]] = []
    for path in sys.argv[1:]:
        artifact = open_artifact(Path(path))
        model = model_config(artifact)
        cases.append((path, load_weights(artifact), model, KNOWN_TRAINED.get(parameter_count(model))))
    if not cases:
        model = preset("16l").model
        cases.append(("16l, Gaussian weights", gaussian_weights(model), model, KNOWN_GAUSSIAN))
    failed = False
    for name, weights, model, known in cases:
        size = reference_bytes(reference_pieces(weights, model))
        off = abs(size / known - 1) if known else 0.0
        failed |= off > 0.01
        print(f"{name}: {size:,} bytes" + (f", known {known:,}, {off:.2%} off" if known else ""), flush=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
