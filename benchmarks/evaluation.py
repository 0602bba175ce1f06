"""Sliding-window scoring: golfpipe against the plain baseline and against the bare matrix products, alternating.

python -m benchmarks evaluation [--quick]
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from benchmarks.floor import Windows, scoring_floor
from benchmarks.models import gaussian_weights
from benchmarks.plain import PlainNetwork, plain_nats
from benchmarks.settings import preset
from benchmarks.timing import alternate, as_found, floor_seconds, shares
from golfpipe.config.schema import PipelineConfig
from golfpipe.loading.weights import COMPUTE_DTYPES
from golfpipe.machine.compiling import compiled_for
from golfpipe.machine.memory import keep_freed_memory
from golfpipe.model.network import load_network
from golfpipe.scoring.config import EvaluateConfig
from golfpipe.scoring.score import LastNats, score_windows
from golfpipe.scoring.windows import Window, batch_windows, plan_windows

STRIDES = (64, 32)
CONTEXT = 512
WINDOWS, REPEATS = 65, 3


def run(quick: bool) -> dict[str, Any]:
    """Seconds for a text of 65 windows and the ratios to plain and floor, per stride."""
    if quick:
        return {"tiny/stride 16": case("tiny", 64, 16, 3, 1)}
    return {
        f"16l/stride {stride}{', compiled' * compiled}": case(
            "16l", CONTEXT, stride, WINDOWS, REPEATS, compiled=compiled
        )
        for stride in STRIDES
        for compiled in (True, False)
    }


def case(name: str, context: int, stride: int, windows: int, repeats: int, *, compiled: bool = False) -> dict[str, Any]:
    config = preset(name)
    settings = replace(config.evaluate, context_length=context, stride=stride, precision="bf16", method="sliding")
    tokens = text(context + stride * (windows - 1) + 1)
    batches = list(batch_windows(plan_windows(len(tokens) - 1, settings), settings.pass_tokens("cpu")))
    score = golfpipe_scoring(config, settings, tokens, compiled=compiled)
    times = alternate(
        {
            "golfpipe": score,
            "plain": as_found(plain_scoring(config, tokens, batches)),
            **scoring_floor(config.model, window_groups(batches), torch.bfloat16),
        },
        repeats,
    )
    ours, plain = times["golfpipe"]["median"], times["plain"]["median"]
    return {
        "seconds": times,
        "scored_tokens_per_second": (len(tokens) - 1) / ours,
        "plain_tokens_per_second": (len(tokens) - 1) / plain,
        "speedup_over_plain": plain / ours,
        "ratio_to_floor": ours / floor_seconds(times),
    } | shares(score)


def text(num_tokens: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 1024, num_tokens).astype(np.uint16)


def golfpipe_scoring(
    config: PipelineConfig, settings: EvaluateConfig, tokens: np.ndarray, *, compiled: bool = False
) -> Callable[[], None]:
    """What the evaluate stage does with a text, once its weights are loaded."""
    keep_freed_memory()
    weights, dtype = gaussian_weights(config.model), COMPUTE_DTYPES[settings.precision]
    network, pass_tokens = load_network(config.model, weights, dtype).to(dtype), settings.pass_tokens("cpu")
    last_nats: LastNats = network.last_nats
    if compiled:
        last_nats = compiled_for(last_nats, (pass_tokens // settings.context_length, settings.context_length))

    def score() -> None:
        nats = np.full(len(tokens) - 1, np.nan, dtype=np.float32)
        batches = batch_windows(plan_windows(len(nats), settings), pass_tokens)
        score_windows(last_nats, tokens, batches, nats, torch.device("cpu"))

    return score


def plain_scoring(config: PipelineConfig, tokens: np.ndarray, batches: list[list[Window]]) -> Callable[[], None]:
    """The same windows in the same batches."""
    network = PlainNetwork(config.model, gaussian_weights(config.model)).eval()

    def score() -> None:
        for windows in batches:
            plain_nats(network, tokens, windows, autocast=True)

    return score


def window_groups(batches: list[list[Window]]) -> list[Windows]:
    """The batches by shape; in each, windows that score equally many targets together."""
    shapes: Counter[tuple[int, int, int]] = Counter()
    for windows in batches:
        sizes = Counter((window.end - window.start, window.score_end - window.score_start) for window in windows)
        shapes.update((sequences, length, scored) for (length, scored), sequences in sizes.items())
    return [Windows(count, *shape) for shape, count in shapes.items()]
