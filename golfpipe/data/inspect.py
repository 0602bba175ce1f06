"""Inspect a folder of token shards: count tokens, documents and bytes, show a sample, check headers and byte table.

Shards are read in blocks, so that a shard of 100M tokens is never in memory as a whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from golfpipe.data.shard_files import SPLITS, Split, list_shards, open_shard
from golfpipe.data.tokenizer import Tokenizer, check_byte_table
from golfpipe.errors import DataError
from golfpipe.scoring.byte_table import check_ids_in_vocabulary, target_bytes
from golfpipe.scoring.documents import document_starts

BLOCK_TOKENS = 1 << 20
SAMPLE_TOKENS = 256


@dataclass(frozen=True, slots=True)
class ShardInspection:
    """What one shard file holds."""

    path: Path
    tokens: int
    documents: int
    """The number of BOS tokens."""


@dataclass(frozen=True, slots=True)
class SplitInspection:
    """The shards of one split, read as one run of tokens in file order."""

    shards: tuple[ShardInspection, ...]
    tokens: int
    documents: int
    """The number of BOS tokens."""
    bytes: int
    """The bytes of all targets (docs/stages/evaluate.md). All tokens but the first are targets."""
    proven: bool
    """True if every document was decoded and has the bytes that the byte table says."""
    sample: str
    """The decoded text of the first tokens."""

    @property
    def bytes_per_token(self) -> float:
        """The bytes per target; 0 if there is no target."""
        return self.bytes / (self.tokens - 1) if self.tokens > 1 else 0.0


def inspect_shards(
    folder: Path, tokenizer: Tokenizer, *, prove: Sequence[Split] = ("val",)
) -> dict[Split, SplitInspection]:
    """Inspect the splits that `folder` has; it must have at least one.

    The documents of the splits in `prove` are decoded and compared with the byte table (about 10M tokens a second);
    the others are only counted. Raises DataError for no shard at all, a bad header, a token id that the tokenizer
    lacks, or a document that the byte table does not fit.
    """
    inspections: dict[Split, SplitInspection] = {}
    for split in SPLITS:
        paths = list_shards(folder, split)
        if paths:
            inspections[split] = _inspect_split(paths, tokenizer, proven=split in prove)
    if not inspections:
        raise DataError(f"{folder}: holds no shard (*train_*.bin, *val_*.bin)", path=str(folder))
    return inspections


def iterate_documents(
    shards: Sequence[np.ndarray], bos_id: int, *, block_tokens: int = BLOCK_TOKENS
) -> Iterator[np.ndarray]:
    """Yield the documents of consecutive shards as uint16 ids, from BOS to before the next BOS. One may span shards.

    Tokens before the first BOS come first, as a document without BOS. Memory holds a block and a document.
    """
    pending: list[np.ndarray] = []  # the parts so far of a document whose end has not been seen
    for shard in shards:
        for start in range(0, len(shard), block_tokens):
            block = np.array(shard[start : start + block_tokens])
            starts = document_starts(block, bos_id)
            first, *others = np.split(block, starts[1:])
            if block[0] == bos_id and pending:
                yield np.concatenate(pending)
                pending = []
            pending.append(first)
            for document in others:
                yield np.concatenate(pending)
                pending = [document]
    if pending:
        yield np.concatenate(pending)


def _inspect_split(paths: Sequence[Path], tokenizer: Tokenizer, *, proven: bool) -> SplitInspection:
    shards = [open_shard(path) for path in paths]
    num_bytes = 0
    last_id: int | None = None
    shard_inspections = []
    for path, shard in zip(paths, shards, strict=True):
        shard_bytes, num_documents = _count_shard(path, shard, tokenizer, last_id)
        num_bytes += shard_bytes
        shard_inspections.append(ShardInspection(path, len(shard), num_documents))
        if len(shard):
            last_id = int(shard[-1])
    if proven:
        whole = (ids for ids in iterate_documents(shards, tokenizer.bos_id) if ids[0] == tokenizer.bos_id)
        try:
            check_byte_table(tokenizer, whole)
        except DataError as error:
            raise DataError(f"{paths[0].parent}: {error.message}", hint=error.hint, path=str(paths[0])) from error
    first_tokens = next((np.array(shard[:SAMPLE_TOKENS]) for shard in shards if len(shard)), np.empty(0, np.uint16))
    return SplitInspection(
        shards=tuple(shard_inspections),
        tokens=sum(len(shard) for shard in shards),
        documents=sum(shard.documents for shard in shard_inspections),
        bytes=num_bytes,
        proven=proven,
        sample=tokenizer.decode(first_tokens),
    )


def _count_shard(path: Path, shard: np.ndarray, tokenizer: Tokenizer, last_id: int | None) -> tuple[int, int]:
    """Return the bytes and the BOS tokens of a shard that follows a shard ending in `last_id`, or of the first one,
    whose first token is no target."""
    num_bytes = num_documents = 0
    for start in range(0, len(shard), BLOCK_TOKENS):
        block = np.array(shard[start : start + BLOCK_TOKENS])
        num_documents += int(np.count_nonzero(block == tokenizer.bos_id))
        if last_id is None:
            previous, targets = block[:-1], block[1:]
        else:
            previous, targets = np.concatenate(([last_id], block[:-1])).astype(np.uint16), block
        try:
            check_ids_in_vocabulary(tokenizer.byte_table, block)
        except DataError as error:
            raise DataError(f"{path}: {error.message}", hint=error.hint, path=str(path)) from error
        num_bytes += int(target_bytes(tokenizer.byte_table, previous, targets).sum(dtype=np.int64))
        last_id = int(block[-1])
    return num_bytes, num_documents
