"""Seconds of a training step of a design: a time for every step and a time for every operation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from golfpipe.config.machines import Machine

STATED_ERROR = 0.3
"""The error of a machine's stated operations a second, as a share: utilization differs by width and vocabulary."""


@dataclass(frozen=True, kw_only=True)
class StepTimes:
    """How long training steps take on a machine."""

    fixed: float
    """Seconds of every step."""
    per_operation: float
    """Seconds of every operation."""
    least: float = 0.0
    """The least seconds of a step."""
    error: float
    """The error as a share of the time."""
    basis: str
    """Where it comes from, in words."""

    def seconds(self, operations: float) -> float:
        """Return the seconds of a step of so many operations."""
        return max(self.least, self.fixed + self.per_operation * operations)


def stated_times(machine: Machine) -> StepTimes:
    """Return the times that follow from a machine's line in stages.yaml."""
    return StepTimes(
        fixed=0.0,
        per_operation=1 / (machine.tflops * 1e12),
        least=machine.least_step_ms / 1000,
        error=STATED_ERROR,
        basis=f"{machine.name}: {machine.basis}",
    )


def fitted_times(operations: Sequence[float], seconds: Sequence[float]) -> StepTimes:
    """Fit the times to measured steps, each of which counts by its relative error. `error` is the largest one left."""
    operations_N, seconds_N = np.asarray(operations, float), np.asarray(seconds, float)
    scaled_N2 = np.stack([1 / seconds_N, operations_N / seconds_N], axis=1)
    scale_2 = np.linalg.norm(scaled_N2, axis=0)
    fixed, slope = np.linalg.lstsq(scaled_N2 / scale_2, np.ones(len(seconds_N)), rcond=None)[0] / scale_2
    if len(seconds_N) < 2 or fixed < 0 or slope <= 0:
        share_N = operations_N / seconds_N
        fixed, slope = 0.0, float(share_N.sum() / (share_N**2).sum())
    error = float(np.abs((fixed + slope * operations_N) / seconds_N - 1).max())
    basis = f"this machine: {len(seconds_N)} designs measured, off by {error:.0%} at most"
    return StepTimes(fixed=float(fixed), per_operation=float(slope), error=error, basis=basis)
