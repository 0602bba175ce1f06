"""Sliding-window scoring: golfpipe against the plain baseline and against the bare matrix products, alternating.

python -m benchmarks evaluation [--quick]
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from benchmarks.floor import Product, forward_products, runner
from benchmarks.models import gaussian_weights
from benchmarks.plain import PlainNetwork, plain_nats
from benchmarks.settings import preset
from benchmarks.timing import alternate, shares
from golfpipe.config.schema import PipelineConfig
from golfpipe.model.network import load_network
from golfpipe.scoring.config import EvaluateConfig
from golfpipe.scoring.score import score_windows
from golfpipe.scoring.windows import Window, batch_windows, plan_windows
from golfpipe.stages.models import COMPUTE_DTYPES

STRIDES = (64, 32)
CONTEXT = 512
WINDOWS, REPEATS = 64, 3


def run(quick: bool) -> dict[str, Any]:
    """Seconds for a text of 64 windows and the ratios to plain and floor, per stride."""
    if quick:
        return {"tiny/stride 16": case("tiny", 64, 16, 3, 1)}
    return {f"16l/stride {stride}": case("16l", CONTEXT, stride, WINDOWS, REPEATS) for stride in STRIDES}


def case(name: str, context: int, stride: int, windows: int, repeats: int) -> dict[str, Any]:
    config = preset(name)
    settings = replace(config.evaluate, context_length=context, stride=stride, precision="bf16", method="sliding")
    tokens = text(context + stride * (windows - 1) + 1)
    batches = list(batch_windows(plan_windows(len(tokens) - 1, settings), settings.batch_tokens))
    score = golfpipe_scoring(config, settings, tokens)
    times = alternate(
        {
            "golfpipe": score,
            "plain": plain_scoring(config, tokens, batches),
            "floor": runner(scoring_products(config, batches), torch.bfloat16),
        },
        repeats,
    )
    ours, plain, floor = (times[key]["median"] for key in ("golfpipe", "plain", "floor"))
    return {
        "seconds": times,
        "scored_tokens_per_second": (len(tokens) - 1) / ours,
        "plain_tokens_per_second": (len(tokens) - 1) / plain,
        "speedup_over_plain": plain / ours,
        "ratio_to_floor": ours / floor,
    } | shares(score)


def text(num_tokens: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 1024, num_tokens).astype(np.uint16)


def golfpipe_scoring(config: PipelineConfig, settings: EvaluateConfig, tokens: np.ndarray) -> Callable[[], None]:
    """What the evaluate stage does with a text, once its weights are loaded."""
    weights = gaussian_weights(config.model)
    network = load_network(config.model, weights, COMPUTE_DTYPES[settings.precision])

    def score() -> None:
        nats = np.full(len(tokens) - 1, np.nan, dtype=np.float32)
        batches = batch_windows(plan_windows(len(nats), settings), settings.batch_tokens)
        score_windows(network, tokens, batches, nats, torch.device("cpu"))

    return score


def plain_scoring(config: PipelineConfig, tokens: np.ndarray, batches: list[list[Window]]) -> Callable[[], None]:
    """The same windows in the same batches."""
    network = PlainNetwork(config.model, gaussian_weights(config.model)).eval()

    def score() -> None:
        for windows in batches:
            plain_nats(network, tokens, windows, autocast=True)

    return score


def scoring_products(config: PipelineConfig, batches: list[list[Window]]) -> list[Product]:
    """The products that the scored targets of each window need, window shape by window shape."""
    shapes: dict[tuple[int, int, int], int] = {}
    for windows in batches:
        per_batch: dict[tuple[int, int], int] = {}
        for window in windows:
            key = (window.end - window.start, window.score_end - window.score_start)
            per_batch[key] = per_batch.get(key, 0) + 1
        for (length, scored), sequences in per_batch.items():
            shapes[sequences, length, scored] = shapes.get((sequences, length, scored), 0) + 1
    return [
        product._replace(count=product.count * times)
        for (sequences, length, scored), times in shapes.items()
        for product in forward_products(config.model, sequences, length, scored)
    ]
