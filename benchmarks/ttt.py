"""One step of full-model test-time training: golfpipe's cosine recipe against the plain baseline, alternating.

python -m benchmarks ttt [--quick]
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from benchmarks.child import clock
from benchmarks.evaluation import text
from benchmarks.floor import training_floor
from benchmarks.models import gaussian_weights
from benchmarks.plain import PlainAdapter, PlainNetwork
from benchmarks.settings import preset
from benchmarks.timing import as_found, floor_seconds, summary
from golfpipe.adapt.cosine import METHOD
from golfpipe.adapt.method import Work
from golfpipe.config.schema import PipelineConfig
from golfpipe.machine.compiling import compiled_for, compiled_passes
from golfpipe.machine.memory import keep_freed_memory
from golfpipe.model.network import load_network
from golfpipe.optim.process_group import ALONE
from golfpipe.reporter import SilentReporter

SEQUENCES, LENGTH, REPEATS = 4, 512, 5


def run(quick: bool) -> dict[str, Any]:
    """Seconds per step and the ratios to plain and floor."""
    if quick:
        return {"tiny/4 x 64": case("tiny", 4, 64, 1)}
    return {
        f"16l/{SEQUENCES} x {LENGTH}{', compiled' * compiled}": case(
            "16l", SEQUENCES, LENGTH, REPEATS, compiled=compiled
        )
        for compiled in (True, False)
    }


def case(name: str, sequences: int, length: int, repeats: int, *, compiled: bool = False) -> dict[str, Any]:
    config = preset(name)
    tokens = text(sequences * length + 1)
    plain = as_found(plain_step(config, tokens, sequences))
    others = {"plain": plain, **training_floor(config.model, sequences, length, torch.bfloat16)}
    seconds: dict[str, list[float]] = {key: [] for key in ("golfpipe", *others)}
    passes = ExitStack()  # in force during golfpipe's own steps alone

    def start() -> None:
        nonlocal started
        passes.enter_context(compiled_passes(compiled, torch.device("cpu"), torch.bfloat16, SilentReporter()))
        started = clock()

    def after_step(targets: int) -> None:
        seconds["golfpipe"].append(clock() - started)
        passes.close()
        for key, function in others.items():
            began = clock()
            function()
            seconds[key].append(clock() - began)
        start()

    # The text is one batch, so an epoch is a step; the first one warms up.
    started = clock()
    start()
    golfpipe_steps(config, tokens, sequences, repeats + 1, after_step, compiled=compiled)
    passes.close()
    times = {key: summary(values[1:]) for key, values in seconds.items()}
    ours = times["golfpipe"]["median"]
    return {
        "seconds": times,
        "tokens_per_second": sequences * length / ours,
        "speedup_over_plain": times["plain"]["median"] / ours,
        "ratio_to_floor": ours / floor_seconds(times),
    }


def golfpipe_steps(
    config: PipelineConfig,
    tokens: np.ndarray,
    sequences: int,
    steps: int,
    after_step: Callable[[int], None],
    *,
    compiled: bool = False,
) -> None:
    """Test-time training on a text of one batch, as the ttt stage does it."""
    keep_freed_memory()
    network = load_network(config.model, gaussian_weights(config.model), torch.bfloat16)
    length = (len(tokens) - 1) // sequences
    recipe = replace(config.ttt.cosine, epochs=steps, batch_sequences=sequences, context_length=length)
    loss_of = compiled_for(network, (sequences, length)) if compiled else None
    work = Work(
        network=network,
        tokens=tokens,
        bos_id=config.model.bos_id,
        windows=config.evaluate,
        seed=config.seed,
        device=torch.device("cpu"),
        processes=ALONE,
        loss_of=loss_of,
        on_step=after_step,
    )
    METHOD.run(work, recipe)


def plain_step(config: PipelineConfig, tokens: np.ndarray, sequences: int) -> Callable[[], None]:
    """One step of the baseline on the same batch."""
    network = PlainNetwork(config.model, gaussian_weights(config.model)).eval()
    adapter = PlainAdapter(network, autocast=True)
    run = torch.from_numpy(tokens.astype(np.int64))
    inputs, targets = run[:-1].view(sequences, -1), run[1:].view(sequences, -1)
    return lambda: adapter.step(inputs, targets)
