"""One training step: golfpipe against the plain baseline and against the bare matrix products, alternating.

python -m benchmarks train_step [--quick]
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.floor import training_floor
from benchmarks.plain import PlainNetwork, PlainTrainer
from benchmarks.settings import preset
from benchmarks.timing import alternate, as_found, floor_seconds, shares, with_compiled_passes
from golfpipe.machine.memory import keep_freed_memory
from golfpipe.model.network import build_network, initialize
from golfpipe.training.token_stream import TokenStream
from golfpipe.training.trainer import Trainer

CASES = {"tiny/fp32": (16, 256, 8), "tiny/bf16": (16, 256, 8), "16l/bf16": (4, 512, 5)}
"""Preset and precision -> sequences, length, repetitions."""
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def run(quick: bool) -> dict[str, Any]:
    """Seconds per step and the ratios to plain and floor, per preset and precision."""
    if quick:
        return {"tiny/bf16": case("tiny", "bf16", 2, 64, 1)}
    return {
        key + ", compiled" * compiled: case(*key.split("/"), sequences, length, repeats, compiled=compiled)
        for key, (sequences, length, repeats) in CASES.items()
        for compiled in (True, False)
    }


def case(
    name: str, precision: str, sequences: int, length: int, repeats: int, *, compiled: bool = False
) -> dict[str, Any]:
    dtype, trainer = DTYPES[precision], golfpipe_trainer(name, sequences, length, precision, compiled=compiled)
    step = with_compiled_passes(compiled, dtype, trainer.step)
    plain, batch = plain_trainer(name, sequences, length, precision)

    def plain_step() -> None:
        plain.gradients(*batch)
        plain.update()

    times = alternate(
        {
            "golfpipe": step,
            "golfpipe gradients": with_compiled_passes(compiled, dtype, gradients_of(trainer)),
            "plain": as_found(plain_step),
            "plain gradients": as_found(lambda: plain.gradients(*batch)),
            **training_floor(preset(name).model, sequences, length, dtype),
        },
        repeats,
    )
    ours, plain_seconds = times["golfpipe"]["median"], times["plain"]["median"]
    return {
        "seconds": times,
        "tokens_per_second": sequences * length / ours,
        "speedup_over_plain": plain_seconds / ours,
        "ratio_to_floor": ours / floor_seconds(times),
        "optimizer_share": 1 - times["golfpipe gradients"]["median"] / ours,
    } | shares(step)


def golfpipe_trainer(name: str, sequences: int, length: int, precision: str, *, compiled: bool = False) -> Trainer:
    """A run with quantization-aware training on, at its first step."""
    keep_freed_memory()
    config = preset(name)
    train = replace(
        config.train, batch_tokens=sequences * length, context_length=length, precision=precision,
        qat_start=0.0, max_steps=10_000, max_seconds=0.0,
    )  # fmt: skip
    network = build_network(config.model, DTYPES[precision])
    initialize(network, 0)
    stream = TokenStream([_tokens(50 * sequences * length)])
    trainer = Trainer(network, stream, train, config.optim, torch.device("cpu"), compiled)
    trainer.start_clock()
    return trainer


def gradients_of(trainer: Trainer) -> Callable[[], None]:
    """The part of a step before clipping and update."""

    def gradients() -> None:
        with trainer._forward_weights():
            trainer._accumulate_gradients()

    return gradients


def plain_trainer(name: str, sequences: int, length: int, precision: str) -> tuple[PlainTrainer, tuple[Tensor, Tensor]]:
    """The baseline from the same initial weights, and its batch."""
    config = preset(name)
    network = build_network(config.model)
    initialize(network, 0)
    plain = PlainTrainer(PlainNetwork(config.model, dict(network.named_parameters())), precision == "bf16")
    run = torch.from_numpy(_tokens(sequences * length + 1).astype(np.int64))
    return plain, (run[:-1].view(sequences, length), run[1:].view(sequences, length))


def _tokens(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 1024, count).astype(np.uint16)
