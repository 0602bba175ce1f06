"""The training loss of a run that another one must keep up with, and the answer to whether it does.

Only losses on training text are looked at, so that what is stopped owes nothing to the text that models are scored on.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from golfpipe.loading.replay_log import LOG
from golfpipe.store.artifact import Artifact
from golfpipe.store.metric_values import count

BEHIND = "behind the leader"
"""The beginning of the message of a training that was stopped."""
PARTS = 16
"""Parts of a run, of which each has one mean loss."""
_FIRST_PART = 8
"""The part from which on runs are compared: before, deep and wide ones are behind and catch up."""


@dataclass(frozen=True, kw_only=True)
class LeaderCurve:
    """The bits per byte of training text in each part of the leader's run."""

    bits: tuple[float, ...]
    bytes_per_token: float
    """Bytes of text in a token of the run that is compared."""
    margin: float
    """The share by which a part may be worse."""


def mean_bits(losses: Iterable[tuple[int, float]], max_steps: int, bytes_per_token: float) -> tuple[float, ...]:
    """Return the mean bits per byte in each part of a run from (step, nats per token), step 1 first. A part without a
    step has the value of the one before."""
    nats: list[list[float]] = [[] for _ in range(PARTS)]
    for step, loss in losses:
        nats[min(PARTS - 1, (step - 1) * PARTS // max_steps)].append(loss)
    means: list[float] = []
    for part in nats:
        before = means[-1] if means else math.inf
        means.append(math.fsum(part) / len(part) / math.log(2) / bytes_per_token if part else before)
    return tuple(means)


def leader_curve(trained: Artifact, bytes_per_token: float, margin: float) -> LeaderCurve:
    """Return the curve of a finished training of tokens of so many bytes, for others of tokens like its own."""
    lines = (trained.path / LOG).read_text(encoding="utf-8").splitlines()
    records: list[dict[str, Any]] = [json.loads(line) for line in lines]
    steps = [record for record in records if record["type"] == "step" and record["train_loss_nats"] is not None]
    losses = [(record["step"], record["train_loss_nats"]) for record in steps]
    bits = mean_bits(losses, count(trained.manifest.metrics, "steps") or 1, bytes_per_token)
    return LeaderCurve(bits=bits, bytes_per_token=bytes_per_token, margin=margin)


@dataclass
class Pursuit:
    """A run that is compared with the leader's."""

    curve: LeaderCurve
    max_steps: int
    losses: list[tuple[int, float]] = field(default_factory=list)
    whole: int = 0
    """The parts that are over."""

    def behind(self, losses: Iterable[tuple[int, float]]) -> str | None:
        """Take further (step, nats per token), and say where the run fell behind, where a part is over in which it
        did."""
        self.losses += losses
        before, self.whole = self.whole, min(PARTS, self.losses[-1][0] * PARTS // self.max_steps if self.losses else 0)
        if self.whole == before:
            return None
        means = mean_bits(self.losses, self.max_steps, self.curve.bytes_per_token)
        for part in range(max(before, _FIRST_PART), self.whole):
            worse = means[part] / self.curve.bits[part] - 1
            if math.isfinite(means[part]) and worse > self.curve.margin:
                return f"{BEHIND} by {worse:.1%} after {(part + 1) / PARTS:.0%} of its steps"
        return None
