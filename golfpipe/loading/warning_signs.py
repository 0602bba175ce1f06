"""The numbers by which a finished step looks wrong. Steps warn by them, and the verdict on a run tells them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

VALIDATION_RISE = 0.01
"""Share by which a validation loss may be above the best one so far."""
MOST_RELATIVE_ERROR = 0.1
"""Squared error of quantized weights over their squares that a model bears. Preset `demo` lost 2.5 % of its score at
0.085, and 7.5 % at 0.195."""
MOST_CALIBRATED_ERROR = 0.3
"""The same where calibration sent the errors to the weights that matter least: 0.7 % at 0.23, 1.8 % at 0.33."""
_AIM = 0.75
"""Share of those errors that a size is named for: below a bit a weight, quantizers are worse than the bound."""
MOST_EDGE_SHARE = 0.5
"""Share of the rows that may take the smallest clip ratio there is. More would take a smaller one if they could, and
saturate at the ends of the grid instead."""


class Validation(NamedTuple):
    """A loss on the validation split, in nats per token."""

    step: int
    loss_nats: float


class Rise(NamedTuple):
    """A loss that is above an earlier one."""

    best: Validation
    last: Validation


def rise(validations: Sequence[Validation]) -> Rise | None:
    """Return the last loss with the best one, if it came before and the last is more than VALIDATION_RISE above it."""
    if not validations:
        return None
    best, last = min(validations, key=lambda found: found.loss_nats), validations[-1]
    rose = last.step > best.step and last.loss_nats > (1 + VALIDATION_RISE) * best.loss_nats
    return Rise(best, last) if rose else None


def bearable_bytes(size: float, num_weights: int, relative_error: float, *, calibrated: bool) -> int | None:
    """Return the bytes from which a model bears the errors of its quantized weights; None where it does now.

    `size` is in bytes and `num_weights` counts the weights that are not exact. Of a Gaussian source one bit more a
    weight leaves a quarter of the squared error (the rate-distortion function: T. Cover and J. Thomas, Elements of
    Information Theory, section 10.3). Calibrated weights spend it where the error matters instead, so
    that more is left; half was measured (preset `demo`, 60 to 120 kB). Rounded up to two digits.
    """
    most = MOST_CALIBRATED_ERROR if calibrated else MOST_RELATIVE_ERROR
    if not most < relative_error < math.inf:
        return None
    bits = math.log2(relative_error / (_AIM * most)) * (1.0 if calibrated else 0.5)
    needed = size + num_weights * bits / 8
    digit = 10.0 ** max(0, math.floor(math.log10(needed)) - 1)
    return int(math.ceil(needed / digit) * digit)
