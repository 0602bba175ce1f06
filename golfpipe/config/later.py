"""Settings that golfpipe got when there were models already that had been made without them.

At its idle value a setting does nothing: the result is that of a golfpipe without it. There it is left out of the keys
of stages and of the architecture that a model carries, so that both stay what they were.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from golfpipe.config.schema import Plain
from golfpipe.model.config import IDLE

IDLE_VALUES: Mapping[str, Any] = {
    "data.transform": "none",
    **{f"model.{key}": value for key, value in IDLE.items()},
    "optim.embed_weight_decay": None,
    "optim.scalar_weight_decay": None,
    "optim.row_normalize": False,
    "train.context_growth": [],
    "train.lr_floor": 0.0,
    "train.spike_nats": 0.0,
    "train.loop_start": 0.0,
    "ttt.score_first_lora.beta1": 0.9,
    "ttt.score_first_lora.beta2": 0.95,
    "ttt.score_first_lora.weight_decay": 0.0,
    "ttt.score_first_lora.projections": ["query", "value"],
    "ttt.score_first_lora.alpha": None,
    "ttt.score_first_lora.warm_queues": None,
    "ttt.score_first_lora.chunk_by_length": [],
    "ttt.score_first_lora.max_documents": None,
    "ttt.score_first_lora.max_seconds": 0.0,
}
"""The idle value of each later setting, by its dotted key."""


def without_idle(plain: Plain) -> Plain:
    """Return a plain configuration, which may lack sections, without the later settings that are idle in it."""
    for key, idle in IDLE_VALUES.items():
        plain = _without(plain, key.split("."), idle)
    return plain


def with_idle(plain: Plain) -> Plain:
    """Return a plain configuration with every later setting that a section of it lacks, at its idle value."""
    for key, idle in IDLE_VALUES.items():
        plain = _with(plain, key.split("."), idle)
    return plain


def _without(plain: Plain, path: list[str], idle: Any) -> Plain:
    first, *rest = path
    if rest:
        return plain | {first: _without(plain[first], rest, idle)} if isinstance(plain.get(first), dict) else plain
    return {name: value for name, value in plain.items() if name != first or value != idle}


def _with(plain: Plain, path: list[str], idle: Any) -> Plain:
    first, *rest = path
    if rest:
        return plain | {first: _with(plain[first], rest, idle)} if isinstance(plain.get(first), dict) else plain
    return {first: idle} | plain
