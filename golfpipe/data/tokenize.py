"""Turn documents into a train and a validation split of token shards, and count what became of the text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from golfpipe.data.document_split import TextPart, split_of
from golfpipe.data.encode_documents import EncodedDocument, encode_documents
from golfpipe.data.mixing import Mixer
from golfpipe.data.shard_format import SPLITS, Split
from golfpipe.data.shard_writer import ShardWriter
from golfpipe.data.tokenizer import Tokenizer
from golfpipe.errors import DataError


@dataclass(slots=True)
class SplitCounts:
    """What one split holds."""

    documents: int = 0
    tokens: int = 0
    """BOS included."""
    source_bytes: int = 0
    """UTF-8 bytes of the documents as they were given."""
    decoded_bytes: int = 0
    """UTF-8 bytes of the text that comes back; the bytes of the score."""

    def add(self, document: EncodedDocument) -> None:
        """Count one more document."""
        self.documents += 1
        self.tokens += len(document.ids)
        self.source_bytes += document.source_bytes
        self.decoded_bytes += document.decoded_bytes


@dataclass(slots=True)
class TokenizeSummary:
    """What `tokenize_documents` wrote."""

    train: SplitCounts = field(default_factory=SplitCounts)
    val: SplitCounts = field(default_factory=SplitCounts)
    changed_documents: int = 0
    """Documents that the tokenizer does not give back as they were, if only for a line break."""
    changes: Counter[str] = field(default_factory=Counter)
    """See `text_changes`, over all documents."""
    blank_documents: int = 0
    """Documents left out, because the tokenizer left no token of them."""

    @property
    def val_share(self) -> float:
        """Return validation's share of the given bytes."""
        return self.val.source_bytes / (self.train.source_bytes + self.val.source_bytes)


def tokenize_documents(
    parts: Sequence[TextPart],
    tokenizer: Tokenizer,
    folder: Path,
    *,
    shard_tokens: int,
    mixed_bytes: int | None = None,
    num_processes: int = 1,
    progress: Callable[[int], None] | None = None,
) -> TokenizeSummary:
    """Write `train_*.bin` and `val_*.bin` into the existing `folder`. A document becomes BOS followed by its ids. Where
    the tokenizer transforms text, `val_bytes_*.bin` say how many bytes of the text before it each token stands for.

    `mixed_bytes`, about the bytes of all documents: write each split in a random order; None: in the given one.
    `progress` is told the tokens so far after every document. The result does not depend on `num_processes`.
    Raises DataError for a document whose bytes are not those of its tokens, or a split without any.
    """
    summary = TokenizeSummary()
    counts: dict[Split, SplitCounts] = {"train": summary.train, "val": summary.val}
    with ExitStack() as stack:
        write = _document_writer(stack, tokenizer, folder, shard_tokens)
        mixers: dict[Split, Mixer] = {}
        if mixed_bytes is not None:
            for split in SPLITS:
                mixer = Mixer(folder, split, bos_id=tokenizer.bos_id, text_bytes=mixed_bytes)
                mixers[split] = stack.enter_context(mixer)
        for part in parts:
            for document in encode_documents(part.read(), tokenizer, num_processes=num_processes):
                if len(document.ids) == 1:  # BOS alone: the text was nothing but characters that normalization drops
                    summary.blank_documents += 1
                    continue
                split = split_of(document.position, part.threshold)
                if mixers:
                    mixers[split].write(document.ids)
                else:
                    write(split, document.ids)
                counts[split].add(document)
                if document.changes is not None:
                    summary.changed_documents += 1
                    summary.changes.update(document.changes)
                if progress is not None:
                    progress(summary.train.tokens + summary.val.tokens)
        for split, mixer in mixers.items():
            for ids in mixer.mixed():
                write(split, ids)
    for split in SPLITS:
        if counts[split].documents == 0:
            raise DataError(f"no document is left for the {split} split", hint="give more text")
    return summary


def _document_writer(
    stack: ExitStack, tokenizer: Tokenizer, folder: Path, shard_tokens: int
) -> Callable[[Split, np.ndarray], None]:
    """Return what writes the ids of a document into the shards of its split, and into the sidecars if there are any."""
    shards = {split: stack.enter_context(ShardWriter(folder, split, shard_tokens=shard_tokens)) for split in SPLITS}
    sidecars = None
    if tokenizer.transform != "none":
        sidecars = stack.enter_context(ShardWriter(folder, "val_bytes", shard_tokens=shard_tokens))

    def write(split: Split, ids: np.ndarray) -> None:
        shards[split].write(ids)
        if sidecars is not None and split == "val":
            sidecars.write(np.append(0, tokenizer.sizes(ids)))  # BOS is no text

    return write
