"""Settings that golfpipe got when there were models already that had been made without them.

At its idle value a setting does nothing: the result is that of a golfpipe without it. There it is left out of the keys
of stages and of the architecture that a model carries, so that both stay what they were.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from golfpipe.config.schema import Plain, plain_config
from golfpipe.model.config import ModelConfig

IDLE_VALUES: Mapping[str, Any] = {"train.spike_nats": 0.0}
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


def plain_model(config: ModelConfig) -> Plain:
    """Return the architecture as what a model carries of it: nested dictionaries, without idle settings."""
    model: Plain = without_idle({"model": plain_config(config)})["model"]
    return model


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
