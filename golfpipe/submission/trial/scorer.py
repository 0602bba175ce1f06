"""What is put on trial: a way to score a text, as seen from outside."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from golfpipe.data.tokenizer import Tokenizer

# Shapes: N targets, T told targets, V vocabulary

OnScored = Callable[[int, float], None]
"""The hook that scoring methods call, with the number of targets just scored and the sum of their nats."""


Score = Callable[[np.ndarray, OnScored], np.ndarray]
"""A way to score: tokens -> the nats of every target, floats [len(tokens) - 1]."""


class Scorer(Protocol):
    """Scores texts, each call from the same weights: what one call learned must be gone in the next."""

    name: str
    """A name for people to read: sliding, score_first_lora, ..."""
    vocab_size: int
    bos_id: int
    adapts: bool
    """True if it may learn from the text while, or before, it scores."""
    ordered: bool
    """True if it says itself in which order it scores; else it is that of the stream."""
    wanted_targets: int
    """The length of a text in which everything that the method does has happened, the first update included."""
    probability_sums: list[float]
    """Sums over the vocabulary that were taken while it scored; may stay empty."""

    scores_computed: int
    """The number of targets that its network scored without learning from them, in all calls; 0 if not counted."""
    same_nats: float
    """Nats by which rounding may change a score where the text has another length."""

    def score(self, tokens: np.ndarray, on_scored: OnScored) -> np.ndarray:
        """Return the nats of every target, floats [len(tokens) - 1]."""

    def order(self, tokens: np.ndarray) -> np.ndarray:
        """Return the targets in the order in which they are scored, integers [len(tokens) - 1]."""

    def probabilities(self, tokens: np.ndarray, targets: np.ndarray) -> np.ndarray | None:
        """Return the probabilities of every token of the vocabulary at these targets [T, V]; None where the method
        does not tell them."""

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
    which Adam makes large. Where a method chooses the order of the documents, they always keep their places: their
    lengths are known to it before it scores.
    """

    score: Score
    moves_documents: bool


class TextOf:
    """What a scorer knows of its text by the tokenizer alone."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self.vocab_size, self.bos_id = tokenizer.vocab_size, tokenizer.bos_id

    def sizes(self, tokens: np.ndarray) -> np.ndarray:
        return self._tokenizer.sizes(tokens)

    def decoded_bytes(self, document: np.ndarray) -> int:
        return len(self._tokenizer.decode(document, cut=True).encode("utf-8"))


def stream_order(tokens: np.ndarray) -> np.ndarray:
    """Return the targets from the first to the last, int64 [len(tokens) - 1]."""
    return np.arange(len(tokens) - 1)
