"""Learning-rate factor and momentum as functions of step and clock (docs/stages/train.md, Method)."""

from __future__ import annotations

from golfpipe.optim.config import OptimConfig

REWARM_STEPS = 32
"""The number of steps in which the lr rises again after a change of the context length."""


def step_factor(step: int, max_steps: int, warmdown_steps: int) -> float:
    """Return the lr factor: 1 until the last `warmdown_steps` steps, then linear to 0. `step` counts finished steps."""
    if warmdown_steps == 0:
        return 1.0
    return min(1.0, max(0.0, (max_steps - step) / warmdown_steps))


def time_factor(elapsed: float, max_seconds: float, warmdown_steps: int, step_seconds: float) -> float:
    """Return the lr factor by the clock: remaining seconds over those of `warmdown_steps` steps, at most 1."""
    if warmdown_steps == 0 or step_seconds <= 0:
        return 1.0
    return min(1.0, max(0.0, (max_seconds - elapsed) / (warmdown_steps * step_seconds)))


def rewarm_factor(steps: int) -> float:
    """Return the lr factor of the step after `steps` others since the context length changed: linear to 1."""
    return min(1.0, (steps + 1) / REWARM_STEPS)


def muon_momentum(step: int, config: OptimConfig) -> float:
    """Return Muon's momentum, which goes from momentum_start to momentum linearly over momentum_warmup_steps."""
    if config.momentum_warmup_steps == 0:
        return config.momentum
    share = min(1.0, step / config.momentum_warmup_steps)
    return (1 - share) * config.momentum_start + share * config.momentum
