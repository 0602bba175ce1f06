"""What is put on trial: a way to score a text, seen from outside."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

OnScored = Callable[[int, float], None]
"""(targets just scored, the sum of their nats): the hook that every scoring method of golfpipe calls."""


class Scorer(Protocol):
    """Scores texts, each call from the same packed weights: what one call learned must be gone in the next."""

    name: str
    """For people: sliding, score_first_lora, ..."""
    vocab_size: int
    bos_id: int
    adapts: bool
    """Learns from the text while, or before, it scores."""
    wanted_targets: int
    """Length of text at which everything that the method does has happened, the first update included."""
    probability_sums: list[float]
    """Sums over the vocabulary that were taken while it scored; may stay empty."""

    def score(self, tokens: np.ndarray, on_scored: OnScored) -> np.ndarray:
        """Nats of every target, float32 [len(tokens) - 1]."""

    def sizes(self, tokens: np.ndarray) -> np.ndarray:
        """Bytes that each target counts for [len(tokens) - 1]."""

    def decoded_bytes(self, document: np.ndarray) -> int:
        """UTF-8 bytes of a document's decoded text."""

    def comparable_targets(self, num_targets: int) -> int:
        """How many first targets of a text get the same score whatever follows the first `num_targets`."""

    def trials(self) -> Sequence[Trial]:
        """How to put it to the test of altered tokens."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One way to alter the text, and the scorer that has to stand it.

    A method that treats each document by itself is tried twice: with its own batches while documents keep their
    places, and document by document while they move. In the second case batches would change shape, and rounding
    with them, which Adam makes large.
    """

    score: Callable[[np.ndarray, OnScored], np.ndarray]
    moves_documents: bool
