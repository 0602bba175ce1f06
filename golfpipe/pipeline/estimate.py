"""Estimates of what a stage will need and write, for --dry-run and presets, without running it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from golfpipe.config.schema import PipelineConfig, plain_config
from golfpipe.jobs.registry import Stage
from golfpipe.model.config import ModelConfig, forward_flops, parameter_count, parameter_shapes
from golfpipe.quant.config import MATRIX_CLASSES, ClassScheme, target_bytes_of
from golfpipe.scoring.config import EvaluateConfig
from golfpipe.training.config import TrainConfig

FLOAT_BYTES = 4
SCALE_BYTES = 2
_GAUSSIAN_WIDTH = math.sqrt(2 * math.pi * math.e)
"""The width w of a Gaussian in deviations for which its entropy in steps of k deviations is log2(w / k) bits: 4.13."""


def weight_bytes(config: PipelineConfig) -> int:
    """Bytes of all weights: the target where quantize has one in bytes, else what their bit widths give, scales
    included, before entropy coding, which saves some more."""
    policy = config.quantize
    if policy.target_bytes != "none":
        return math.ceil(target_bytes_of(policy, config.pack.limit_bytes, config.pack.code_bytes_reserve))
    total = 0.0
    for name, shape in parameter_shapes(config.model).items():
        count = math.prod(shape)
        found = next((rule.to for rule in policy.rules if rule.matches(name, count)), None)
        if found is None:
            continue
        scheme: ClassScheme = getattr(policy, found)
        if policy.target_bits and found in MATRIX_CLASSES:
            total += count * policy.target_bits / 8
        elif scheme.step:
            total += count * max(0.0, math.log2(_GAUSSIAN_WIDTH / scheme.step)) / 8
        else:
            rows = shape[0] if len(shape) == 2 and not scheme.is_float else 0
            total += count * scheme.bits / 8 + rows * SCALE_BYTES
    return math.ceil(total)


def step_operations(config: PipelineConfig) -> float:
    """The operations of one training step: three times those of a forward pass over its tokens, the optimizer's not
    counted. Where layers loop later, the mean over training."""
    model, train = config.model, config.train
    single, looping = (forward_flops(model, train.context_length, loops) for loops in (False, True))
    return 3 * train.mean_step(single, looping) * train.batch_tokens


def scored_tokens(num_targets: int, windows: EvaluateConfig) -> int:
    """Return the tokens of all windows in which so many targets are scored (docs/stages/evaluate.md)."""
    context = windows.context_length
    if windows.method == "chunked" or num_targets <= context:
        return num_targets
    return context * (1 + -(-(num_targets - context) // windows.stride))


def scoring_operations(config: PipelineConfig, num_targets: int) -> float:
    """Return the operations of scoring so many targets: a forward pass over every window."""
    windows = config.evaluate
    return scored_tokens(num_targets, windows) * forward_flops(config.model, windows.context_length)


def adaptation_operations(config: PipelineConfig, num_targets: int) -> float:
    """Return the operations of test-time training on so many targets: three forward passes over each in each epoch, and
    the scoring of methods that score in the windows of `evaluate`."""
    method, recipe = config.ttt.chosen, config.ttt.recipe()
    context = getattr(recipe, "context_length", config.evaluate.context_length)
    learning = 3 * recipe.epochs * num_targets * forward_flops(config.model, context)
    if method.by_document:  # a chunk is learned from with what stands before it in its document
        return learning * max(1, context / getattr(recipe, "chunk_tokens", context))
    return learning + (scoring_operations(config, num_targets) if method.score_first else 0)


@dataclass(frozen=True, kw_only=True)
class TrainingTime:
    """How long a training takes, its clock alone: without compiling, validation and loading."""

    seconds: float
    steps: int
    """The steps in that time: train.max_steps, or fewer where train.max_seconds ends training before."""


def training_time(config: TrainConfig, step_seconds: float) -> TrainingTime:
    """Return the time of a training whose steps take so long."""
    steps = config.max_steps
    if config.max_seconds > 0:  # the step in which the time runs out is the last one
        steps = min(steps, max(1, math.ceil(config.max_seconds / step_seconds)))
    return TrainingTime(seconds=steps * step_seconds, steps=steps)


def estimate(stage: Stage, config: PipelineConfig, model: ModelConfig) -> dict[str, int | None]:
    """`output_bytes` and `memory_bytes` (weights and optimizer; activations come on top); None: unknown."""
    weights = FLOAT_BYTES * parameter_count(model)
    codes = weight_bytes(config)
    known: Mapping[str, tuple[int | None, int | None]] = {
        # weights, gradients, average, and at most two moments
        "train": (weights, 5 * weights),
        # a code takes a byte here, whatever its bits
        "quantize": (None, 3 * weights),
        "pack": (codes, 2 * weights),
        "ttt": (weights if stage.writes(plain_config(config)) == "adapted_model" else None, 4 * weights),
        "evaluate": (None, weights),
    }
    output, memory = known.get(stage.name, (None, None))
    return {"output_bytes": output, "memory_bytes": memory}
