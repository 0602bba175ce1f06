"""Documents in batches, and their chunks as the rows of one forward pass."""

# Shapes: B documents, T time, D model width

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import torch
from torch import Tensor

from golfpipe.adapt.lora import DocumentAdapters
from golfpipe.model.network import Network
from golfpipe.scoring.documents import document_starts


@dataclass(frozen=True, slots=True)
class Span:
    """The targets [start, end) of one document; they run through the BOS that follows it."""

    start: int
    end: int

    @property
    def length(self) -> int:
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class ChunkWindow:
    """What the network sees for one chunk: inputs [start, end), of which the targets [score_start, end) are scored."""

    start: int
    score_start: int
    end: int


def chunk_window(span: Span, chunk: int, chunk_tokens: int, context_length: int) -> ChunkWindow:
    """Return the window of a document's chunk: it ends with the chunk and reaches back as far as a whole chunk would
    within context_length, never out of the document.

    A last, shorter chunk must not reach farther back: where its window starts would then tell where the document
    ends, which is a later token.
    """
    score_start = span.start + chunk * chunk_tokens
    whole_end = score_start + chunk_tokens
    start = max(span.start, min(whole_end - context_length, score_start))
    return ChunkWindow(start, score_start, min(whole_end, span.end))


def documents_by_length(tokens: np.ndarray, bos_id: int, *, longest_first: bool) -> list[Span]:
    """Return all documents by length; those of one length keep their order."""
    starts = document_starts(tokens[:-1], bos_id)
    ends = np.append(starts[1:], len(tokens) - 1)
    spans = [Span(int(start), int(end)) for start, end in zip(starts, ends, strict=True)]
    return sorted(spans, key=lambda span: -span.length if longest_first else span.length)


def document_batches(spans: Iterable[Span], most: int, chunk_of: Callable[[Span], int]) -> list[list[Span]]:
    """Return batches of at most `most` neighbors with chunks of one length, in each the shortest document first.

    Neighbors by length have nearly as many chunks, so few rows run empty.
    """
    groups = [list(group) for _, group in groupby(spans, chunk_of)]
    batches = [group[i : i + most] for group in groups for i in range(0, len(group), most)]
    return [sorted(batch, key=lambda span: span.length) for batch in batches]


def chunk_plan(
    spans: list[Span], chunk_tokens: int, context_length: int
) -> Iterator[tuple[int, list[ChunkWindow], list[bool]]]:
    """Yield for each chunk of a batch the first of the documents that have it, their windows, and which of them have
    another chunk after it. The shortest documents come first, so those that have a chunk are the last ones."""
    chunks_of = [-(-span.length // chunk_tokens) for span in spans]
    for chunk in range(max(chunks_of)):
        first = next(row for row, chunks in enumerate(chunks_of) if chunk < chunks)
        windows = [chunk_window(span, chunk, chunk_tokens, context_length) for span in spans[first:]]
        yield first, windows, [chunk < chunks - 1 for chunks in chunks_of[first:]]


class ChunkRows:
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

    def losses(self, network: Network, adapters: DocumentAdapters | None, first: int) -> Tensor:
        """Return the fp32 nats of the chunk's targets, documents one after the other [N]. The first of them has the
        adapters number `first`."""
        if adapters is None:
            return network.nats(network.hidden(self.inputs_BT).flatten(0, 1)[self.positions_N], self.targets_N)
        hidden_BTD = network.hidden(self.inputs_BT, adapters.delta_from(first))
        hidden_ND = hidden_BTD.flatten(0, 1)[self.positions_N]
        return network.nats(hidden_ND, self.targets_N, adapters.logits_from(first, hidden_ND.split(self.counts)))

    def means(self, losses_N: Tensor) -> Tensor:
        """Return the mean loss of each document's chunk [B]."""
        return torch.stack([part.mean() for part in losses_N.split(self.counts)])

    def scatter(self, scored: np.ndarray, nats: np.ndarray) -> None:
        """Write the scores to their targets; none may have one already."""
        done = 0
        for window, count in zip(self.windows, self.counts, strict=True):
            assert np.isnan(nats[window.score_start : window.end]).all()
            nats[window.score_start : window.end] = scored[done : done + count]
            done += count
