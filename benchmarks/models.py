"""A trained model without a training: random weights of a preset's architecture as a `trained_model` artifact."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from golfpipe.config.schema import PipelineConfig, plain_config
from golfpipe.model.config import ModelConfig, parameter_shapes
from golfpipe.store.artifact_writer import begin, finish
from golfpipe.store.manifest import Result

WEIGHT_STD = 0.04


def gaussian_weights(config: ModelConfig, seed: int = 0) -> dict[str, Tensor]:
    """Name -> fp32 weight: matrices and tables normal(0, 0.04), whose row maxima and code statistics are about those of
    trained weights; everything else 1."""
    source = torch.Generator().manual_seed(seed)
    return {
        name: torch.randn(shape, generator=source) * WEIGHT_STD if len(shape) == 2 and name.endswith("weight")
        else torch.ones(shape)
        for name, shape in parameter_shapes(config).items()
    }  # fmt: skip


def write_gaussian_model(out: Path, config: PipelineConfig) -> None:
    """Such a model under the settings `config`, as the train stage would leave it in `out`."""
    model = plain_config(config.model)
    writer = begin(out)
    writer.write_tensors("ema.safetensors", gaussian_weights(config.model), {"model": model})
    finish(
        writer,
        out,
        Result(kind="trained_model", metrics={"stop_reason": "random"}, model=model),
        stage="train",
        key="0" * 64,
        config=plain_config(config),
        inputs=(),
        provenance={},
    )
