"""What is put on trial: a way to score a text, as seen from outside."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

OnScored = Callable[[int, float], None]
"""The hook that scoring methods call, with the number of targets just scored and the sum of their nats."""


Score = Callable[[np.ndarray, OnScored], np.ndarray]
"""A way to score: tokens -> the nats of every target, float32 [len(tokens) - 1]."""


class Scorer(Protocol):
    """Scores texts, each call from the same packed weights: what one call learned must be gone in the next."""

    name: str
    """A name for people to read: sliding, score_first_lora, ..."""
    vocab_size: int
    bos_id: int
    adapts: bool
    """True if it learns from the text while, or before, it scores."""
    wanted_targets: int
    """The length of a text in which everything that the method does has happened, the first update included."""
    probability_sums: list[float]
    """Sums over the vocabulary that were taken while it scored; may stay empty."""

    scores_computed: int
    """The number of targets that its network scored without learning from them, in all calls; 0 if not counted."""
    same_nats: float
    """Nats by which rounding may change a score where the text has another length."""

    def score(self, tokens: np.ndarray, on_scored: OnScored) -> np.ndarray:
        """Return the nats of every target, float32 [len(tokens) - 1]."""

    def sizes(self, tokens: np.ndarray) -> np.ndarray:
        """Return the bytes that each target counts for [len(tokens) - 1]."""

    def decoded_bytes(self, document: np.ndarray) -> int:
        """Return the UTF-8 bytes of a document's decoded text."""

    def comparable_targets(self, num_targets: int) -> int:
        """Return how many first targets of a text get the same score whatever follows the first `num_targets`."""

    def trials(self) -> Sequence[Trial]:
        """Return the ways in which to test it with altered tokens."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One way to alter the text, and the scorer that must not notice.

    A method that treats each document by itself is tried twice: with its own batches while documents keep their places,
    and document by document while they move. In the second case batches would change shape, and rounding with them,
    which Adam makes large.
    """

    score: Score
    moves_documents: bool
