"""A test of whether the difference between two scores of one text could be chance in its choice of documents."""

# Shapes: R resamples of one block, D documents

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

RESAMPLE_BLOCK = 2_000_000
"""The most draws at a time, which bounds memory: 10,000 resamples of 50,000 documents are 5e8 draws."""


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """The second score minus the first in bits per byte: negative where the second is better."""

    difference: float
    low: float
    high: float
    """`low` and `high` bound the interval that holds the share `confidence` of the resamples."""
    confidence: float
    p_value: float
    """The two-sided p-value of a difference this far from 0; never below 1 / (resamples + 1)."""
    resamples: int
    documents: int
    documents_better: int
    """The number of documents in which the second score has fewer nats."""
    documents_worse: int


def paired_bootstrap(
    first_nats_D: np.ndarray,
    second_nats_D: np.ndarray,
    bytes_D: np.ndarray,
    *,
    resamples: int = 10_000,
    confidence: float = 0.95,
    seed: int = 0,
) -> PairedDifference:
    """Compare two scores by a percentile bootstrap over documents (Efron and Tibshirani 1993, chapter 13), with both
    scores on the same draws.

    Documents are drawn with replacement. The difference is that of total nats over total bytes, so that a document
    weighs in by its share of the text. Takes float64 nats and int64 bytes of at least two documents.
    """
    assert first_nats_D.shape == second_nats_D.shape == bytes_D.shape and len(bytes_D) >= 2 and bytes_D.sum() > 0
    gain_D = (second_nats_D - first_nats_D).astype(np.float64)
    sizes_D = bytes_D.astype(np.float64)
    drawn = _resampled_differences(gain_D, sizes_D, resamples, np.random.default_rng(seed))
    tail = (1 - confidence) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail])
    beyond = min(int((drawn <= 0).sum()), int((drawn >= 0).sum()))
    return PairedDifference(
        difference=float(gain_D.sum() / (math.log(2) * sizes_D.sum())),
        low=float(low),
        high=float(high),
        confidence=confidence,
        p_value=min(1.0, 2 * (beyond + 1) / (resamples + 1)),
        resamples=resamples,
        documents=len(gain_D),
        documents_better=int((gain_D < 0).sum()),
        documents_worse=int((gain_D > 0).sum()),
    )


def _resampled_differences(
    gain_D: np.ndarray, sizes_D: np.ndarray, resamples: int, source: np.random.Generator
) -> np.ndarray:
    """Return the difference in each resample, float64 [resamples]. A draw without bytes counts as no difference."""
    count = len(gain_D)
    block = max(1, RESAMPLE_BLOCK // count)
    parts = []
    for start in range(0, resamples, block):
        drawn_RD = source.integers(0, count, size=(min(block, resamples - start), count), dtype=np.int32)
        total_R = sizes_D[drawn_RD].sum(axis=1)
        gained_R = gain_D[drawn_RD].sum(axis=1)
        parts.append(np.divide(gained_R, math.log(2) * total_R, out=np.zeros_like(gained_R), where=total_R > 0))
    return np.concatenate(parts)
