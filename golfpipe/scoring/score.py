"""The nats of every target under a network, and their sums over documents."""

# Shapes: B windows in a batch, T tokens of a window, D model width, N scored targets

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from golfpipe.scoring.documents import document_starts
from golfpipe.scoring.windows import Window
from golfpipe.units import bits_per_byte


@dataclass(frozen=True, slots=True)
class Score:
    """Sums over the scored targets, per document. Nats are float64 sums of fp32 cross-entropies."""

    document_nats: np.ndarray
    """float64 [documents]."""
    document_targets: np.ndarray
    """int64 [documents]."""
    document_bytes: np.ndarray
    """int64 [documents]."""

    @property
    def num_targets(self) -> int:
        return int(self.document_targets.sum())

    @property
    def num_bytes(self) -> int:
        return int(self.document_bytes.sum())

    @property
    def val_loss_nats(self) -> float:
        """The mean loss in nats per token."""
        return float(self.document_nats.sum()) / self.num_targets

    @property
    def val_bpb(self) -> float:
        """The score in bits per byte. Raises ZeroDivisionError where the scored targets hold no byte of text."""
        return bits_per_byte(float(self.document_nats.sum()), self.num_bytes)


def window_inputs(tokens: np.ndarray, windows: list[Window], device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the inputs and targets, int64 [B, T] each, of windows of one length over uint16 tokens."""
    run_BT = np.stack([tokens[window.start : window.end + 1] for window in windows]).astype(np.int64)
    run = torch.from_numpy(run_BT).to(device)
    return run[:, :-1], run[:, 1:]


LastNats = Callable[[Tensor, Tensor, int], Tensor]
"""The method Network.last_nats, or a compiled form of it."""


def score_windows(
    last_nats: LastNats,
    tokens: np.ndarray,
    batches: Iterable[list[Window]],
    nats: np.ndarray,
    device: torch.device,
    on_scored: Callable[[int, float], None] | None = None,
) -> None:
    """Fill in `nats` (float32, one per target, NaN where not yet scored) for the targets of `batches`.

    `on_scored(count, sum of nats)` is called after each batch. Asserts that no target was scored before.
    """
    with torch.inference_mode():
        for windows in batches:
            # A window scores its last positions, and all windows of a batch score equally many.
            count = windows[0].score_end - windows[0].score_start
            scored = last_nats(*window_inputs(tokens, windows, device), count).cpu().numpy()
            for window, values in zip(windows, np.split(scored, len(windows)), strict=True):
                part = nats[window.score_start : window.score_end]
                assert np.isnan(part).all()
                part[:] = values
            if on_scored is not None:
                on_scored(len(scored), float(scored.sum(dtype=np.float64)))


def summarize_sample(nats: np.ndarray, sizes: np.ndarray) -> Score:
    """Sum nats (float32, NaN where a target was not scored) and bytes of the scored targets, as one document."""
    scored = ~np.isnan(nats)
    return Score(
        document_nats=nats[scored].sum(dtype=np.float64, keepdims=True),
        document_targets=scored.sum(dtype=np.int64, keepdims=True),
        document_bytes=sizes[scored].sum(dtype=np.int64, keepdims=True),
    )


def summarize(tokens: np.ndarray, nats: np.ndarray, sizes: np.ndarray, bos_id: int) -> Score:
    """Sum nats (float32, one per target, none NaN), targets and bytes per document.

    `sizes` are the bytes of each target; `tokens` holds one token more. A target belongs to the document of the token
    before it, so that a document's targets run through the BOS that follows.
    """
    assert len(tokens) == len(nats) + 1 == len(sizes) + 1 and not np.isnan(nats).any()
    starts = document_starts(tokens[:-1], bos_id)
    return Score(
        document_nats=np.add.reduceat(nats.astype(np.float64), starts),
        document_targets=np.diff(np.append(starts, len(nats))).astype(np.int64),
        document_bytes=np.add.reduceat(sizes.astype(np.int64), starts),
    )
