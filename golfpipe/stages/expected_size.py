"""The size that a packed model will have, before there is a trained one."""

from __future__ import annotations

import functools
from dataclasses import replace

import torch

from golfpipe.codec.container import encode_payload
from golfpipe.config.schema import PipelineConfig
from golfpipe.loading.pieces import packed_file
from golfpipe.model.config import parameter_shapes, plain_model, possible_names
from golfpipe.quant.config import QuantizeConfig, target_bytes_of
from golfpipe.quant.export import quantize_weights


@functools.lru_cache(maxsize=1)
def expected_file_bytes(config: PipelineConfig) -> int:
    """Return the bytes of packed.safetensors for Gaussian weights, quantized and packed as the settings say. Trained
    weights took 1 to 7 % less (presets `demo`, `tiny`, `16l`). A target in bytes is what it is, for packing meets it.
    """
    settings, pack = config.quantize, config.pack
    if settings.target_bytes != "none":
        return int(target_bytes_of(settings, pack.limit_bytes, pack.code_bytes_reserve))
    if not settings.is_open:  # nothing is known of what comes in, and the search that needs nothing gives such sizes
        settings = replace(settings, method=QuantizeConfig().method, calibration="none")
    generator, shapes = torch.Generator().manual_seed(0), parameter_shapes(config.model)
    weights = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    quantized = quantize_weights(weights, settings, universe=possible_names(config.model))
    return len(packed_file(encode_payload(plain_model(config.model), quantized.pieces.values(), coder=pack.coder)))
