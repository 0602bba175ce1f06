"""Score-first LoRA: each chunk of a document is scored, then its adapters learn from it (docs/stages/ttt.md).

The scoring pass is the training pass: the loss that one forward gives is first kept as the chunk's score, then its
gradient moves the adapters, which only later chunks of the same document see.
"""

# Shapes: B documents, N targets

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, ClassVar, Literal

from golfpipe.adapt.method import Method, Recipe, Work
from golfpipe.errors import ConfigError
from golfpipe.scoring.config import EvaluateConfig

if TYPE_CHECKING:
    import numpy as np

    from golfpipe.adapt.document_chunks import ChunkWindow, Span
    from golfpipe.adapt.lora import DocumentAdapters

ADAM_EPS = 1e-10


@dataclass(frozen=True, kw_only=True, slots=True)
class LoraRecipe(Recipe):
    """Settings of the method `score_first_lora`."""

    epochs: int = 1
    """Steps on each chunk after it is scored."""
    lr: float = 0.01
    """The learning rate of the adapters."""
    beta1: float = 0.9
    """Adam's decay per step of the mean of gradients."""
    beta2: float = 0.95
    """Adam's decay per step of the mean of squared gradients."""
    weight_decay: float = 0.0
    """Decoupled weight decay of the adapters: in a step, they shrink by lr * weight_decay."""
    projections: tuple[Literal["query", "key", "value", "output", "mlp", "head"], ...] = ("query", "value")
    """The maps that have adapters: projections of attention; `output` and `mlp`, the whole of attention and MLP from
    their normed input on; `head`, the logits."""
    rank: int = 8
    """The rank of the adapters: how many values lie between their two matrices."""
    alpha: float | None = None
    """Adapters count alpha / rank times; null: once."""
    warm_queues: int | None = None
    """Warm adapters: batches go round robin into so many queues, and in a queue the next documents go on with the first
    matrices as the last ones left them; so many processes can share the work. null: every document starts afresh."""
    chunk_tokens: int = 256
    """Tokens of a document that are scored together, before they are learned from."""
    chunk_by_length: tuple[tuple[int, int], ...] = ()
    """Chunks of shorter documents, as [longest, tokens]: documents of at most `longest` tokens are scored in chunks of
    `tokens`, all others in chunks of chunk_tokens."""
    context_length: int = 1024
    """Tokens that the model sees when it scores or learns from a chunk."""
    batch_documents: int = 64
    """Documents that are worked on at once, each with adapters of its own."""
    max_documents: int | None = None
    """The most documents that are learned from, the longest ones; null means all. The others are scored plainly."""
    max_seconds: float = 0.0
    """The time in which all is to be scored: once it gets short, the documents that are left are scored plainly. 0
    means as long as it takes. metrics.adapted_documents is the max_documents that repeats it."""

    def check(self, key: str) -> None:
        """Raise ConfigError, naming the setting below `key`, also for chunks in disorder and no projections."""
        super(LoraRecipe, self).check(key)  # a dataclass with slots is another class than the one written here
        if not self.projections:
            raise ConfigError(f"{key}.projections={list(self.projections)} must name at least one")
        if self.warm_queues == 0:
            raise ConfigError(f"{key}.warm_queues=0 must be null or at least 1")
        for name in ("beta1", "beta2"):
            if not getattr(self, name) < 1:
                raise ConfigError(f"{key}.{name}={getattr(self, name)} must be less than 1")
        longest = [0, *(length for length, _ in self.chunk_by_length)]
        if any(left >= right for left, right in pairwise(longest)) or any(n < 1 for _, n in self.chunk_by_length):
            raise ConfigError(
                f"{key}.chunk_by_length={self.chunk_by_length} must be rising lengths, each with its chunk"
            )

    def chunk_of(self, span: Span) -> int:
        """Return the tokens of a document's chunks."""
        return next((chunk for longest, chunk in self.chunk_by_length if span.length <= longest), self.chunk_tokens)


class ScoreFirstLora(Method):
    """Low-rank adapters, which every document trains from their start, chunk by chunk."""

    recipe = LoraRecipe
    about = "low-rank adapters per document, each chunk scored before it is learned from"
    told = ("rank", "projections")
    score_first = True
    by_document = True
    same_nats = 2e-3  # batches of other documents round differently, which Adam makes larger
    shortened: ClassVar[Mapping[str, int | float]] = {"max_seconds": 0.0}

    def trial_targets(self, recipe: LoraRecipe, windows: EvaluateConfig) -> int:
        return 5 * recipe.chunk_tokens

    def comparable_targets(self, recipe: LoraRecipe, windows: EvaluateConfig, num_targets: int) -> int:
        return 0 if self.ordered(recipe) else num_targets

    def ordered(self, recipe: LoraRecipe) -> bool:
        bounded = recipe.max_documents is not None or recipe.max_seconds > 0
        return bounded or recipe.warm_queues is not None or bool(recipe.chunk_by_length)

    def order(self, recipe: LoraRecipe, tokens: np.ndarray, bos_id: int) -> np.ndarray:
        """The longest document first, where that matters. Nothing passes between documents of one batch."""
        import numpy as np

        from golfpipe.adapt.document_chunks import documents_by_length

        if not self.ordered(recipe):
            return super().order(recipe, tokens, bos_id)
        spans = documents_by_length(tokens, bos_id, longest_first=True)
        return np.concatenate([np.arange(span.start, span.end) for span in spans])

    def repeatable(self, recipe: LoraRecipe) -> LoraRecipe:
        return replace(recipe, max_seconds=0.0)

    def one_by_one(self, recipe: LoraRecipe) -> LoraRecipe:
        return replace(recipe, batch_documents=1, warm_queues=recipe.warm_queues and 1)

    def run(self, work: Work, recipe: LoraRecipe) -> np.ndarray:
        """Return the nats of every target. The network's own weights do not change but for their precision.

        Without warm_queues, batches of documents know nothing of each other. `work.processes` share them.
        """
        import numpy as np

        from golfpipe.adapt.document_chunks import document_batches, documents_by_length
        from golfpipe.adapt.time_guard import TimeGuard

        network, processes = work.network, work.processes
        nats = np.full(len(work.tokens) - 1, np.nan, dtype=np.float32)
        network.to(network.compute_dtype)  # only the adapters change: cast once
        network.requires_grad_(False)
        documents = documents_by_length(work.tokens, work.bos_id, longest_first=self.ordered(recipe))
        batches = document_batches(documents[: recipe.max_documents], recipe.batch_documents, recipe.chunk_of)
        guard = TimeGuard(recipe.max_seconds if batches else 0.0, processes, lambda: _rate(work, recipe, batches[0]))
        kept: dict[int, DocumentAdapters] = {}
        done = 0
        for number, spans in enumerate(batches):
            tokens = _tokens_learned(recipe, spans)
            if not guard.allows(number, tokens, sum(span.length for span in documents[done + len(spans) :])):
                break
            done += len(spans)
            queue = number % recipe.warm_queues if recipe.warm_queues else number
            if queue % processes.size == processes.rank:
                started = time.perf_counter()
                adapters = kept.get(queue) or _adapters(work, recipe, len(spans))
                _score_batch(work, recipe, spans, nats, adapters)
                guard.measured(tokens, time.perf_counter() - started)
                if recipe.warm_queues:
                    adapters.restart()
                    kept[queue] = adapters
        if recipe.max_seconds > 0 or recipe.max_documents is not None:
            work.on_adapted(done)
        plain = replace(recipe, chunk_tokens=recipe.context_length, chunk_by_length=())
        for spans in processes.share(document_batches(documents[done:], plain.batch_documents, plain.chunk_of)):
            _score_batch(work, plain, spans, nats, None)
        processes.merge(nats)
        return nats


def _adapters(work: Work, recipe: LoraRecipe, num_documents: int) -> DocumentAdapters:
    from golfpipe.adapt.lora import DocumentAdapters

    scale = 1.0 if recipe.alpha is None else recipe.alpha / recipe.rank
    config = work.network.config
    return DocumentAdapters(config, num_documents, recipe.rank, work.seed, work.device, recipe.projections, scale)


def _plan(recipe: LoraRecipe, spans: list[Span]) -> list[tuple[int, list[ChunkWindow], list[bool]]]:
    from golfpipe.adapt.document_chunks import chunk_plan

    return list(chunk_plan(spans, recipe.chunk_of(spans[0]), recipe.context_length))


def _tokens_learned(recipe: LoraRecipe, spans: list[Span]) -> int:
    """Return the tokens that pass through the network for a batch of documents, each time that they do."""
    return recipe.epochs * sum(_rows(windows) for _, windows, _ in _plan(recipe, spans))


def _rows(windows: list[ChunkWindow]) -> int:
    return len(windows) * max(window.end - window.start for window in windows)


def _rate(work: Work, recipe: LoraRecipe, spans: list[Span]) -> float:
    """Return the seconds per token of learning from the largest chunks of a batch, the second time that it is done."""
    import torch

    from golfpipe.adapt.document_chunks import ChunkRows

    first, windows, _ = max(_plan(recipe, spans), key=lambda chunk: _rows(chunk[1]))
    rows, adapters, seconds = ChunkRows(work.tokens, windows, work.device), _adapters(work, recipe, len(spans)), 0.0
    for _ in range(2):
        started = time.perf_counter()
        loss = rows.losses(work.network, adapters, first).sum()
        torch.autograd.grad(loss, adapters.parameters())[-1].sum().item()  # waits for the device
        seconds = time.perf_counter() - started
    return seconds / _rows(windows)


def _score_batch(
    work: Work, recipe: LoraRecipe, spans: list[Span], nats: np.ndarray, adapters: DocumentAdapters | None
) -> None:
    """Write the nats of a batch of documents into `nats`: with adapters that learn, or of the plain network."""
    import numpy as np
    import torch

    from golfpipe.adapt.document_chunks import ChunkRows

    optimizer, unused = None, 0
    if adapters is not None:
        # Adam's state is elementwise and all documents of a batch are at the same step: one optimizer serves them all.
        optimizer = torch.optim.AdamW(
            adapters.parameters(),
            lr=recipe.lr,
            betas=(recipe.beta1, recipe.beta2),
            eps=ADAM_EPS,
            weight_decay=recipe.weight_decay,
        )
        unused = adapters.num_documents - len(spans)  # the last batch may have fewer documents
    for first, windows, more in _plan(recipe, spans):
        rows = ChunkRows(work.tokens, windows, work.device)
        learns = optimizer is not None and any(more)
        for repeat in range(recipe.epochs if learns else 1):
            with torch.set_grad_enabled(learns):
                losses_N = rows.losses(work.network, adapters, unused + first)
            if repeat == 0:
                scored = losses_N.detach().cpu().numpy()
                rows.scatter(scored, nats)
                work.on_scored(len(scored), float(scored.sum(dtype=np.float64)))
            if optimizer is not None and learns:
                optimizer.zero_grad(set_to_none=True)
                (rows.means(losses_N) * torch.tensor(more, device=work.device)).sum().backward()
                optimizer.step()


METHOD = ScoreFirstLora()
