"""The positions at which documents begin in a run of tokens."""

from __future__ import annotations

import numpy as np


def document_starts(tokens: np.ndarray, bos_id: int) -> np.ndarray:
    """Return the ascending int64 positions of document starts: every BOS, and 0 even within a document.

    `tokens` is one-dimensional, of any integer dtype; no tokens give no starts. Documents reach from one start to the
    next, or to the end of the run, so together they cover every token once.
    """
    starts = np.flatnonzero(tokens == bos_id)
    if len(tokens) and (not len(starts) or starts[0] != 0):
        starts = np.concatenate((np.zeros(1, dtype=starts.dtype), starts))
    return starts
