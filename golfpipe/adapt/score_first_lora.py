"""Score-first LoRA: each chunk of a document is scored, then its adapters learn from it (docs/stages/ttt.md).

The scoring pass is the training pass: the loss that one forward gives is first kept as the chunk's score, then its
gradient moves the adapters, which only later chunks of the same document see.
"""

# Shapes: B documents, T time, D model width

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from golfpipe.adapt.config import LoraRecipe
from golfpipe.adapt.lora import DocumentAdapters
from golfpipe.model.network import Network
from golfpipe.optim.process_group import ALONE, ProcessGroup
from golfpipe.scoring.documents import document_starts

ADAM_BETAS = (0.9, 0.95)
ADAM_EPS = 1e-10


@dataclass(frozen=True, slots=True)
class Span:
    """The targets [start, end) of one document; they run through the BOS that follows it."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class ChunkWindow:
    """What the network sees for one chunk: inputs [start, end), of which the targets [score_start, end) are scored."""

    start: int
    score_start: int
    end: int


def chunk_window(span: Span, chunk: int, recipe: LoraRecipe) -> ChunkWindow:
    """Window of a document's chunk: it ends with the chunk and reaches back as far as a whole chunk would within
    context_length, never out of the document.

    A last, shorter chunk must not reach farther back: where its window starts would then tell where the document
    ends, which is a later token.
    """
    score_start = span.start + chunk * recipe.chunk_tokens
    whole_end = score_start + recipe.chunk_tokens
    start = max(span.start, min(whole_end - recipe.context_length, score_start))
    return ChunkWindow(start, score_start, min(whole_end, span.end))


def document_batches(tokens: np.ndarray, bos_id: int, batch_documents: int) -> list[list[Span]]:
    """All documents, shortest first, in batches: neighbors have nearly as many chunks, so few rows run empty."""
    starts = document_starts(tokens[:-1], bos_id)
    ends = np.append(starts[1:], len(tokens) - 1)
    spans = [Span(int(start), int(end)) for start, end in zip(starts, ends, strict=True)]
    spans.sort(key=lambda span: (span.end - span.start, span.start))
    return [spans[i : i + batch_documents] for i in range(0, len(spans), batch_documents)]


def score_first_lora(
    network: Network,
    tokens: np.ndarray,
    bos_id: int,
    recipe: LoraRecipe,
    seed: int,
    device: torch.device,
    on_scored: Callable[[int, float], None] | None = None,
    processes: ProcessGroup = ALONE,
) -> np.ndarray:
    """Nats per target, fp32 [len(tokens) - 1]. The network's own weights do not change.

    Batches of documents know nothing of each other, so `processes` share them.
    """
    nats = np.full(len(tokens) - 1, np.nan, dtype=np.float32)
    network.requires_grad_(False)
    for spans in processes.share(document_batches(tokens, bos_id, recipe.batch_documents)):
        _score_batch(network, tokens, spans, recipe, seed, device, nats, on_scored)
    processes.merge(nats)
    return nats


def _score_batch(
    network: Network,
    tokens: np.ndarray,
    spans: list[Span],
    recipe: LoraRecipe,
    seed: int,
    device: torch.device,
    nats: np.ndarray,
    on_scored: Callable[[int, float], None] | None,
) -> None:
    adapters = DocumentAdapters(network.config, len(spans), recipe.rank, seed, device)
    # Adam's state is elementwise and all documents of a batch are at the same step: one optimizer serves them all.
    optimizer = torch.optim.Adam(adapters.parameters(), lr=recipe.lr, betas=ADAM_BETAS, eps=ADAM_EPS)
    chunks_of = [-(-(span.end - span.start) // recipe.chunk_tokens) for span in spans]
    for chunk in range(max(chunks_of)):
        # Shortest documents come first, so the active ones are the last rows.
        first = next(row for row, chunks in enumerate(chunks_of) if chunk < chunks)
        rows = _ChunkRows(tokens, [chunk_window(span, chunk, recipe) for span in spans[first:]], device)
        learns_B = torch.tensor([chunk < chunks - 1 for chunks in chunks_of[first:]], device=device)
        learns = chunk < max(chunks_of) - 1
        for repeat in range(recipe.epochs if learns else 1):
            with torch.set_grad_enabled(learns):
                losses_N = rows.losses(network, adapters, first)
            if repeat == 0:
                scored = losses_N.detach().cpu().numpy()
                rows.scatter(scored, nats)
                if on_scored is not None:
                    on_scored(len(scored), float(scored.sum(dtype=np.float64)))
            if learns:
                optimizer.zero_grad(set_to_none=True)
                (rows.means(losses_N) * learns_B).sum().backward()
                optimizer.step()


class _ChunkRows:
    """One chunk of several documents as a batch. Rows shorter than the longest are filled up behind their end, which
    causality keeps from mattering."""

    def __init__(self, tokens: np.ndarray, windows: list[ChunkWindow], device: torch.device) -> None:
        self.windows = windows
        self.counts = [window.end - window.score_start for window in windows]
        length = max(window.end - window.start for window in windows)
        inputs_BT = np.zeros((len(windows), length), dtype=np.int64)
        for row, window in enumerate(windows):
            inputs_BT[row, : window.end - window.start] = tokens[window.start : window.end]
        targets_N = np.concatenate([tokens[w.score_start + 1 : w.end + 1] for w in windows]).astype(np.int64)
        positions = [row * length + np.arange(w.score_start, w.end) - w.start for row, w in enumerate(windows)]
        self.inputs_BT = torch.from_numpy(inputs_BT).to(device)
        self.targets_N = torch.from_numpy(targets_N).to(device)
        self.positions_N = torch.from_numpy(np.concatenate(positions)).to(device)

    def losses(self, network: Network, adapters: DocumentAdapters, first_document: int) -> Tensor:
        """fp32 nats of the chunk's targets, documents one after the other [N]."""
        hidden_BTD = network.hidden(self.inputs_BT, adapters.delta_from(first_document))
        return network.nats(hidden_BTD.flatten(0, 1)[self.positions_N], self.targets_N)

    def means(self, losses_N: Tensor) -> Tensor:
        """Mean loss of each document's chunk [B]."""
        return torch.stack([part.mean() for part in losses_N.split(self.counts)])

    def scatter(self, scored: np.ndarray, nats: np.ndarray) -> None:
        """Write the scores to their targets; none may have one already."""
        done = 0
        for window, count in zip(self.windows, self.counts, strict=True):
            assert np.isnan(nats[window.score_start : window.end]).all()
            nats[window.score_start : window.end] = scored[done : done + count]
            done += count
