"""Time and memory against layers, context, tokens and stride, on the 16-layer design at half its width.

python -m benchmarks scaling [--quick]

Each point is a process of its own. The exponent of a curve is the slope of its logarithm: 1 is linear, 0 constant.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from benchmarks.child import clock, measured, peak_memory_bytes
from benchmarks.evaluation import text
from benchmarks.models import gaussian_weights
from benchmarks.settings import preset
from golfpipe.config.schema import PipelineConfig
from golfpipe.model.network import load_network
from golfpipe.scoring.score import score_windows
from golfpipe.scoring.windows import batch_windows, plan_windows
from golfpipe.training.token_stream import TokenStream
from golfpipe.training.trainer import Trainer

LAYERS, CONTEXT, TOKENS = 8, 512, 4096
CURVES: dict[str, tuple[int, ...]] = {
    "layers": (2, 4, 8, 16),
    "tokens": (1024, 2048, 4096, 8192),
    "context": (128, 256, 512, 1024, 2048),
    "stride": (32, 64, 128, 256),
}
WORK = {
    "layers": "train step of 4,096 tokens, context 512",
    "tokens": "train step, 8 layers, context 512",
    "context": "train step of 4,096 tokens, 8 layers",
    "stride": "sliding evaluation of 4,096 targets, 8 layers, context 512",
}
REPEATS = 2


def run(quick: bool) -> dict[str, Any]:
    """Seconds and peak bytes of every point, and the exponents of every curve."""
    results: dict[str, Any] = {}
    for curve, values in CURVES.items():
        values = values[:2] if quick else values
        points = [point(curve, value) for value in values]
        results |= {f"{curve} {value}": found for value, found in zip(values, points, strict=True)}
        results[f"{curve}: exponent"] = {
            "work": WORK[curve],
            "time_exponent": exponent(values, [found["best_seconds"] for found in points]),
            "memory_exponent": exponent(values, [found["working_bytes"] for found in points]),
        }
    return results


def point(curve: str, value: int) -> dict[str, float]:
    """The work of `curve` at one value of what it varies."""
    sizes = {"layers": LAYERS, "tokens": TOKENS, "context": CONTEXT, "stride": 0} | {curve: value}
    done = measured(f"{__name__}:work", json.dumps(sizes))
    before, seconds = done.returned
    return {"best_seconds": seconds, "working_bytes": done.peak_memory_bytes - before}


def exponent(values: tuple[int, ...], measured_values: list[float]) -> float:
    """Slope of the least-squares line through the logarithms."""
    return float(np.polyfit(np.log(values), np.log(measured_values), 1)[0])


def work(sizes_json: str) -> tuple[int, float]:
    """In the child: (resident bytes before the work, seconds of its fastest repetition)."""
    sizes = json.loads(sizes_json)
    config = preset("16l", f"model.num_layers={sizes['layers']}", "model.model_dim=256", "model.num_heads=4",
                    "model.num_kv_heads=2", "model.bigram_buckets=2048", "model.trigram_buckets=1024")  # fmt: skip
    once = _scoring(config, sizes) if sizes["stride"] else _training(config, sizes)
    before = peak_memory_bytes()
    seconds = []
    for _ in range(REPEATS + 1):
        started = clock()
        once()
        seconds.append(clock() - started)
    return before, min(seconds[1:])


def _training(config: PipelineConfig, sizes: dict[str, int]) -> Any:
    train = replace(config.train, batch_tokens=sizes["tokens"], context_length=sizes["context"], max_seconds=0.0)
    network = load_network(config.model, gaussian_weights(config.model), torch.bfloat16).train()
    stream = TokenStream([text(2 * sizes["tokens"])])
    trainer = Trainer(network, stream, train, config.optim, torch.device("cpu"))
    trainer.start_clock()
    return trainer.step


def _scoring(config: PipelineConfig, sizes: dict[str, int]) -> Any:
    settings = replace(config.evaluate, context_length=sizes["context"], stride=sizes["stride"])
    network = load_network(config.model, gaussian_weights(config.model), torch.bfloat16)
    tokens = text(sizes["tokens"] + 1)

    def score() -> None:
        nats = np.full(len(tokens) - 1, np.nan, dtype=np.float32)
        batches = batch_windows(plan_windows(len(nats), settings), settings.pass_tokens("cpu"))
        score_windows(network.last_nats, tokens, batches, nats, torch.device("cpu"))

    return score
