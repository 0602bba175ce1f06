"""One training step: golfpipe against the plain baseline and against the bare matrix products, alternating.

python -m benchmarks train_step [--quick]
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from benchmarks.floor import backward_products, forward_products, runner
from benchmarks.plain import PlainNetwork, PlainTrainer
from benchmarks.settings import preset
from benchmarks.timing import alternate, peak_memory_bytes
from golfpipe.model.network import build_network, initialize
from golfpipe.training.shards import TokenStream
from golfpipe.training.trainer import Trainer

CASES = {"tiny": (16, 256, 8), "16l": (4, 512, 3)}
"""Preset -> sequences, length, repetitions."""


def run(quick: bool) -> dict[str, Any]:
    """Seconds per step and the ratios to plain and floor, per preset and precision."""
    results = {}
    for name, (sequences, length, repeats) in CASES.items():
        for precision in ("fp32", "bf16"):
            results[f"{name}/{precision}"] = case(name, sequences, length, precision, 1 if quick else repeats)
    results["peak_memory_bytes"] = peak_memory_bytes()
    return results


def case(name: str, sequences: int, length: int, precision: str, repeats: int) -> dict[str, Any]:
    config = preset(name)
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    train = replace(
        config.train, batch_tokens=sequences * length, context_length=length, precision=precision,
        qat_start=0.0, max_steps=10_000, max_seconds=0.0,
    )  # fmt: skip
    tokens = np.random.default_rng(0).integers(0, 1024, 50 * sequences * length).astype(np.uint16)
    network = build_network(config.model, dtype)
    initialize(network, 0)
    trainer = Trainer(network, TokenStream([tokens]), train, config.optim, torch.device("cpu"))
    trainer.start_clock()
    plain = PlainTrainer(PlainNetwork(config.model, dict(network.named_parameters())), precision == "bf16")
    run = torch.from_numpy(tokens[: sequences * length + 1].astype(np.int64))
    batch = run[:-1].view(sequences, length), run[1:].view(sequences, length)
    forward = forward_products(config.model, sequences * length, sequences * length)

    def plain_step() -> None:
        plain.gradients(*batch)
        plain.update()

    def gradients() -> None:
        with trainer._forward_weights():
            trainer._accumulate_gradients()

    times = alternate(
        {
            "golfpipe step": trainer.step,
            "golfpipe gradients": gradients,
            "plain step": plain_step,
            "plain gradients": lambda: plain.gradients(*batch),
            "floor": runner(forward + backward_products(forward), dtype),
        },
        repeats,
    )
    ours, theirs, floor = (times[key]["median"] for key in ("golfpipe step", "plain step", "floor"))
    return {
        "seconds": times,
        "tokens_per_second": sequences * length / ours,
        "speedup_over_plain": theirs / ours,
        "ratio_to_floor": ours / floor,
        "optimizer_share": 1 - times["golfpipe gradients"]["median"] / ours,
    }
