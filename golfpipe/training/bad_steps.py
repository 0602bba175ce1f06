"""Detect steps that would harm a run: a loss or gradients that are not finite, or a loss far above those before."""

from __future__ import annotations

import math

MEAN_LOSS_DECAY = 0.98
"""The decay of the running mean of losses per good step; the mean looks back some 50 steps."""
MAX_BAD_STEPS = 10
"""The most bad steps in a row that are skipped. More are no bad luck, but the weights' or the lr's fault."""


class LossWatch:
    """Judges each step by its loss, against the mean of the good ones before."""

    def __init__(self, spike_nats: float) -> None:
        self.spike_nats = spike_nats
        self.mean: float | None = None
        self.bad_in_a_row = 0

    def fault(self, loss: float, gradient_norm: float = 0.0) -> str | None:
        """Say what makes the step bad. Return None for a good one, and take its loss into the mean."""
        found = self._fault(loss, gradient_norm)
        if found is not None:
            self.bad_in_a_row += 1
            return found
        self.bad_in_a_row = 0
        self.mean = loss if self.mean is None else MEAN_LOSS_DECAY * self.mean + (1 - MEAN_LOSS_DECAY) * loss
        return None

    def _fault(self, loss: float, gradient_norm: float) -> str | None:
        if not math.isfinite(loss):
            return f"the loss is {loss}"
        if not math.isfinite(gradient_norm):
            return f"the norm of the gradients is {gradient_norm}"
        if self.mean is not None and 0 < self.spike_nats < loss - self.mean:
            return (
                f"the loss is {loss:.4f}, over train.spike_nats={self.spike_nats:g} above the mean of {self.mean:.4f}"
            )
        return None
