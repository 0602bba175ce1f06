"""Score-first LoRA: each chunk of a document is scored, then its adapters learn from it (docs/stages/ttt.md).

The scoring pass is the training pass: the loss that one forward gives is first kept as the chunk's score, then its
gradient moves the adapters, which only later chunks of the same document see.
"""

# Shapes: B documents, N targets

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from golfpipe.adapt.method import Method, Recipe, Work
from golfpipe.scoring.config import EvaluateConfig

if TYPE_CHECKING:
    import numpy as np

    from golfpipe.adapt.document_chunks import Span

ADAM_BETAS = (0.9, 0.95)
ADAM_EPS = 1e-10


@dataclass(frozen=True, kw_only=True, slots=True)
class LoraRecipe(Recipe):
    """Settings of the method `score_first_lora`."""

    epochs: int = 1
    """Steps on each chunk after it is scored."""
    lr: float = 0.01
    """The learning rate of the adapters."""
    rank: int = 8
    """The rank of the adapters: how many values lie between their two matrices."""
    chunk_tokens: int = 256
    """Tokens of a document that are scored together, before they are learned from."""
    context_length: int = 1024
    """Tokens that the model sees when it scores or learns from a chunk."""
    batch_documents: int = 64
    """Documents that are worked on at once, each with adapters of its own."""


class ScoreFirstLora(Method):
    """Low-rank adapters, which every document trains from their start, chunk by chunk."""

    recipe = LoraRecipe
    about = "low-rank adapters per document, each chunk scored before it is learned from"
    score_first = True
    by_document = True
    same_nats = 2e-3  # batches of other documents round differently, which Adam makes larger

    def trial_targets(self, recipe: LoraRecipe, windows: EvaluateConfig) -> int:
        return 5 * recipe.chunk_tokens

    def comparable_targets(self, recipe: LoraRecipe, windows: EvaluateConfig, num_targets: int) -> int:
        return num_targets

    def one_by_one(self, recipe: LoraRecipe) -> LoraRecipe:
        return replace(recipe, batch_documents=1)

    def run(self, work: Work, recipe: LoraRecipe) -> np.ndarray:
        """Return the nats of every target. The network's own weights do not change but for their precision.

        Batches of documents know nothing of each other, so `work.processes` share them.
        """
        import numpy as np

        from golfpipe.adapt.document_chunks import document_batches

        nats = np.full(len(work.tokens) - 1, np.nan, dtype=np.float32)
        work.network.to(work.network.compute_dtype)  # only the adapters change: cast once
        work.network.requires_grad_(False)
        for spans in work.processes.share(document_batches(work.tokens, work.bos_id, recipe.batch_documents)):
            _score_batch(work, recipe, spans, nats)
        work.processes.merge(nats)
        return nats


def _score_batch(work: Work, recipe: LoraRecipe, spans: list[Span], nats: np.ndarray) -> None:
    """Write the nats of a batch of documents into `nats`."""
    import numpy as np
    import torch

    from golfpipe.adapt.document_chunks import ChunkRows, chunk_window
    from golfpipe.adapt.lora import DocumentAdapters

    network, device = work.network, work.device
    adapters = DocumentAdapters(network.config, len(spans), recipe.rank, work.seed, device)
    # Adam's state is elementwise and all documents of a batch are at the same step: one optimizer serves them all.
    optimizer = torch.optim.Adam(adapters.parameters(), lr=recipe.lr, betas=ADAM_BETAS, eps=ADAM_EPS)
    chunks_of = [-(-(span.end - span.start) // recipe.chunk_tokens) for span in spans]
    for chunk in range(max(chunks_of)):
        # Shortest documents come first, so the active ones are the last rows.
        first = next(row for row, chunks in enumerate(chunks_of) if chunk < chunks)
        windows = [chunk_window(span, chunk, recipe.chunk_tokens, recipe.context_length) for span in spans[first:]]
        rows = ChunkRows(work.tokens, windows, device)
        learns_B = torch.tensor([chunk < chunks - 1 for chunks in chunks_of[first:]], device=device)
        learns = chunk < max(chunks_of) - 1
        for repeat in range(recipe.epochs if learns else 1):
            with torch.set_grad_enabled(learns):
                losses_N = rows.losses(network, adapters.delta_from(first))
            if repeat == 0:
                scored = losses_N.detach().cpu().numpy()
                rows.scatter(scored, nats)
                work.on_scored(len(scored), float(scored.sum(dtype=np.float64)))
            if learns:
                optimizer.zero_grad(set_to_none=True)
                (rows.means(losses_N) * learns_B).sum().backward()
                optimizer.step()


METHOD = ScoreFirstLora()
