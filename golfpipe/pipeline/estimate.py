"""What a stage will need and write, as far as arithmetic tells without running it. Used by --dry-run and presets."""

from __future__ import annotations

import math
from collections.abc import Mapping

from golfpipe.config.schema import PipelineConfig
from golfpipe.model.config import ModelConfig, parameter_count, parameter_shapes
from golfpipe.quant.config import FLOAT_BITS, QuantPolicy

FLOAT_BYTES = 4
SCALE_BYTES = 2


def weight_bytes(model: ModelConfig, policy: QuantPolicy) -> int:
    """Bytes of all weights at their bit widths, scales included, before entropy coding, which saves some more."""
    total = 0.0
    for name, shape in parameter_shapes(model).items():
        count = math.prod(shape)
        target = next((rule.to for rule in policy.rules if rule.matches(name, count)), None)
        if target is None:
            continue
        bits = getattr(policy, target).bits
        rows = shape[0] if len(shape) == 2 and bits not in FLOAT_BITS else 0
        total += count * bits / 8 + rows * SCALE_BYTES
    return math.ceil(total)


def estimate(stage: str, config: PipelineConfig, model: ModelConfig) -> dict[str, int | float | None]:
    """`output_bytes`, `memory_bytes` (weights and optimizer; activations come on top) and `seconds`; None: unknown."""
    weights = FLOAT_BYTES * parameter_count(model)
    codes = weight_bytes(model, config.quantize)
    seconds = config.train.max_seconds or None
    known: Mapping[str, tuple[int | None, int | None, float | None]] = {
        # weights, gradients, average, and at most two moments
        "train": (weights, 5 * weights, seconds),
        # one byte a code, whatever its bits
        "quantize": (None, 3 * weights, None),
        "pack": (codes, 2 * weights, None),
        "ttt": (weights if config.ttt.method == "cosine" else None, 4 * weights, None),
        "evaluate": (None, weights, None),
    }
    output, memory, time = known.get(stage, (None, None, None))
    return {"output_bytes": output, "memory_bytes": memory, "seconds": time}
