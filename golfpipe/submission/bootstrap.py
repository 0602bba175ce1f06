"""Paired bootstrap over documents: how far the difference of two scores of one text depends on its documents."""

# Shapes: R resamples of one batch, D documents

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

BATCH_DRAWS = 250_000
"""Most draws at a time, which bounds memory: 10,000 resamples of 50,000 documents are 5e8 draws."""


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """Second minus first, in bits per byte: negative where the second is better."""

    difference: float
    low: float
    high: float
    """Ends of the interval that holds the share `confidence` of the resamples."""
    confidence: float
    p_value: float
    """Two-sided: the chance of a difference this far from 0 if there were none; never below 1 / (resamples + 1)."""
    resamples: int
    documents: int
    documents_better: int
    """Documents in which the second has fewer nats."""
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
    """Return the difference with its percentile interval (Efron and Tibshirani 1993, chapter 13) and p-value.

    Documents are drawn with replacement, both scores on the same draws, and the difference is that of total nats over
    total bytes, so that a document weighs what it has of the text. A draw without any byte, possible where most
    documents have none, counts as no difference. Takes float64 nats and int64 bytes of at least two documents.
    """
    from scipy import stats

    assert first_nats_D.shape == second_nats_D.shape == bytes_D.shape and len(bytes_D) >= 2 and bytes_D.sum() > 0
    gain_D = (second_nats_D - first_nats_D).astype(np.float64)
    bits_D = math.log(2) * bytes_D.astype(np.float64)
    found = stats.bootstrap(
        (gain_D, bits_D),
        _ratio_of_sums,
        n_resamples=resamples,
        batch=max(1, BATCH_DRAWS // len(gain_D)),
        vectorized=True,
        paired=True,
        confidence_level=confidence,
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    drawn = found.bootstrap_distribution
    beyond = min(int((drawn <= 0).sum()), int((drawn >= 0).sum()))
    return PairedDifference(
        difference=float(_ratio_of_sums(gain_D, bits_D)),
        low=float(found.confidence_interval.low),
        high=float(found.confidence_interval.high),
        confidence=confidence,
        p_value=min(1.0, 2 * (beyond + 1) / (resamples + 1)),
        resamples=resamples,
        documents=len(gain_D),
        documents_better=int((gain_D < 0).sum()),
        documents_worse=int((gain_D > 0).sum()),
    )


def _ratio_of_sums(gain_RD: np.ndarray, bits_RD: np.ndarray, axis: int = -1) -> Any:
    """Return total gain over total bits for each resample; 0 where there are no bits."""
    gained_R, total_R = gain_RD.sum(axis=axis), bits_RD.sum(axis=axis)
    return np.divide(gained_R, total_R, out=np.zeros_like(gained_R), where=total_R > 0)
