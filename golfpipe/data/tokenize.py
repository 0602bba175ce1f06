"""Turn documents into a train and a validation split of token shards, and count what became of the text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from golfpipe.data.document_split import SplitRouter, split_hash
from golfpipe.data.encode_documents import EncodedDocument, encode_documents
from golfpipe.data.shard_files import SPLITS, ShardWriter, Split
from golfpipe.data.tokenizer import Tokenizer


@dataclass(slots=True)
class SplitCounts:
    """What one split holds."""

    documents: int = 0
    tokens: int = 0
    """The number of tokens, BOS included."""
    original_bytes: int = 0
    """The UTF-8 bytes of the documents as they were given."""
    decoded_bytes: int = 0
    """The UTF-8 bytes that the tokens decode to, in which the score is counted."""
    changed_documents: int = 0
    """The number of documents that normalization changed, if only by turning a newline into a space."""
    shards: list[Path] = field(default_factory=list)

    @property
    def bytes_per_token(self) -> float:
        """The decoded bytes per token; 0 without tokens."""
        return self.decoded_bytes / self.tokens if self.tokens else 0.0


@dataclass(slots=True)
class TokenizeSummary:
    """What `tokenize_documents` wrote."""

    train: SplitCounts
    val: SplitCounts
    blank_documents: int
    """The number of documents left out because normalization left no token of them."""


def tokenize_documents(
    documents: Iterable[str],
    tokenizer: Tokenizer,
    folder: Path,
    *,
    val_fraction: float,
    shard_tokens: int,
    num_processes: int = 1,
    progress: Callable[[int], None] | None = None,
) -> TokenizeSummary:
    """Write `train_*.bin` and `val_*.bin` into the existing `folder`. A document becomes BOS followed by its ids.

    A hash of its text decides a document's split; both splits get at least one. After every document `progress` is
    called with the number of tokens written so far. The result does not depend on `num_processes`. Raises DataError for
    fewer than two documents, or one that the byte table does not fit.
    """
    counts = {split: SplitCounts() for split in SPLITS}
    blank_documents = 0
    router: SplitRouter[EncodedDocument] = SplitRouter(val_fraction)
    with ExitStack() as stack:
        writers = {
            split: stack.enter_context(ShardWriter(folder, split, shard_tokens=shard_tokens)) for split in SPLITS
        }

        def write_all(routed: Iterator[tuple[Split, EncodedDocument]]) -> None:
            for split, document in routed:
                writers[split].write(document.ids)
                _count(counts[split], document)
                if progress is not None:
                    progress(counts["train"].tokens + counts["val"].tokens)

        for document in encode_documents(documents, tokenizer, num_processes=num_processes):
            if len(document.ids) == 1:  # only BOS: normalization dropped every character
                blank_documents += 1
                continue
            write_all(router.route(split_hash(document.text), document))
        write_all(router.finish())
    for split in SPLITS:
        counts[split].shards = writers[split].paths
    return TokenizeSummary(counts["train"], counts["val"], blank_documents)


def _count(counts: SplitCounts, document: EncodedDocument) -> None:
    counts.documents += 1
    counts.tokens += len(document.ids)
    counts.original_bytes += len(document.text.encode("utf-8"))
    counts.decoded_bytes += document.decoded_bytes
    counts.changed_documents += document.changed
