"""Inspect a folder of token shards: count tokens, documents and bytes, show a sample, check headers and byte table.

Shards are read in blocks, so that a shard of 100M tokens is never in memory as a whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from golfpipe.data.order import order_bits
from golfpipe.data.shard_files import ShardFile, list_shards
from golfpipe.data.shard_format import SIDECAR_TOLERANCE, SPLITS, Split, sidecar_name
from golfpipe.data.tokenizer import Tokenizer, check_byte_table
from golfpipe.errors import DataError
from golfpipe.scoring.byte_table import check_ids_in_vocabulary, scored_bytes
from golfpipe.scoring.documents import document_starts
from golfpipe.training.token_stream import TokenSource, TokenStream

BLOCK_TOKENS = 1 << 20
SAMPLE_TOKENS = 256


Source = Literal["table", "text", "sidecar", "sidecar and text"]


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
    """Bytes of all targets, which are all tokens but the first."""
    known_from: Source
    """Where the bytes are from: counted by the byte table; or every document was decoded too, and has the bytes that
    the table says; or read from sidecars, which agree with the table but for normalization; or with every document
    that was decoded."""
    order_bits: float
    """See `data.order`: what a token's place tells of it."""
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
    the others are only counted. Where shards have sidecars, these are compared with the decoded documents, or where
    the tokenizer normalizes, with the table in total. Raises DataError for no shard at all, a bad header, a token id
    that the tokenizer lacks, a document or a sidecar that does not fit, and transformed text without a sidecar.
    """
    inspections: dict[Split, SplitInspection] = {}
    for split in SPLITS:
        paths = list_shards(folder, split)
        if paths:
            inspections[split] = _inspect_split(paths, split, tokenizer, prove=split in prove)
    if not inspections:
        raise DataError(f"{folder}: holds no shard (*train_*.bin, *val_*.bin)", path=str(folder))
    return inspections


def iterate_documents(
    shards: Sequence[TokenSource], bos_id: int, *, block_tokens: int = BLOCK_TOKENS
) -> Iterator[np.ndarray]:
    """Yield the documents of consecutive shards as uint16 ids, from BOS to before the next BOS. One may span shards.

    Tokens before the first BOS come first, as a document without BOS. Memory holds a block and a document.
    """
    pending: list[np.ndarray] = []  # the parts so far of a document whose end has not been seen
    for shard in shards:
        for start in range(0, len(shard), block_tokens):
            block = shard[start : start + block_tokens]
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


def _inspect_split(paths: Sequence[Path], split: Split, tokenizer: Tokenizer, *, prove: bool) -> SplitInspection:
    shards = [ShardFile(path) for path in paths]
    num_bytes = 0
    last_id: int | None = None
    shard_inspections = []
    for path, shard in zip(paths, shards, strict=True):
        shard_bytes, num_documents = _count_shard(path, shard, tokenizer, last_id)
        num_bytes += shard_bytes
        shard_inspections.append(ShardInspection(path, len(shard), num_documents))
        if len(shard):
            last_id = int(shard[len(shard) - 1 :][0])
    known_from: Source = "table"
    sidecars = list_sidecars(paths, split)
    if sidecars:
        num_bytes, known_from = _sidecar_bytes(paths, sidecars, num_bytes), "sidecar"
        if prove and tokenizer.keeps_characters:
            _prove_sidecars(sidecars, shards, tokenizer)
            known_from = "sidecar and text"
    elif prove:
        _prove(paths[0], shards, tokenizer)
        known_from = "text"
    return SplitInspection(
        shards=tuple(shard_inspections),
        tokens=sum(len(shard) for shard in shards),
        documents=sum(shard.documents for shard in shard_inspections),
        bytes=num_bytes,
        known_from=known_from,
        order_bits=order_bits(shards, tokenizer.bos_id),
        sample=tokenizer.decode(_beginning(shards, SAMPLE_TOKENS), cut=True),
    )


def _beginning(shards: Sequence[ShardFile], num_tokens: int) -> np.ndarray:
    """Return the first tokens of the first shard that has any."""
    return next((shard[:num_tokens] for shard in shards if len(shard)), np.empty(0, np.uint16))


def list_sidecars(shards: Sequence[Path], split: Split) -> list[Path]:
    """Return the sidecars of the shards. Raises DataError where only some have one."""
    paths = [path.with_name(sidecar_name(path.name, split)) for path in shards]
    missing = [path for path in paths if not path.is_file()]
    if missing and len(missing) < len(paths):
        raise DataError(f"{missing[0]}: missing, but other shards have a sidecar", path=str(missing[0]))
    return [] if missing else paths


def _sidecar_bytes(shards: Sequence[Path], sidecars: Sequence[Path], table_bytes: int) -> int:
    """Return the bytes that sidecars hold for all tokens but the first.

    Raises DataError where one does not belong to its shard, or all are further from the table than normalization
    explains.
    """
    num_bytes = 0
    for path, sidecar in zip(shards, sidecars, strict=True):
        shard, values = ShardFile(path), ShardFile(sidecar)
        if len(shard) != len(values):
            raise DataError(f"{sidecar}: {len(values)} values for the {len(shard)} tokens of {path.name}")
        for start in range(0, len(values), BLOCK_TOKENS):
            block = values[start : start + BLOCK_TOKENS]
            num_bytes += int(block.sum(dtype=np.int64))
    num_bytes -= int(_beginning([ShardFile(path) for path in sidecars], 1).sum())
    if abs(num_bytes - table_bytes) > SIDECAR_TOLERANCE * table_bytes:
        raise DataError(
            f"{sidecars[0].parent}: the sidecars hold {num_bytes} bytes, but the tokens spell {table_bytes}",
            hint="they belong to other shards or another tokenizer, or count the marks of a transform as text",
            path=str(sidecars[0]),
        )
    return num_bytes


def _prove(first_path: Path, shards: Sequence[ShardFile], tokenizer: Tokenizer) -> None:
    """Compare the byte table with the decoded text of every whole document. Raises DataError."""
    whole = (ids for ids in iterate_documents(shards, tokenizer.bos_id) if ids[0] == tokenizer.bos_id)
    try:
        scored_bytes(tokenizer.byte_table, np.empty(0, np.uint16), None)  # refuses transformed text
        check_byte_table(tokenizer, whole)
    except DataError as error:
        raise DataError(f"{first_path.parent}: {error.message}", hint=error.hint, path=str(first_path)) from error


def _prove_sidecars(sidecars: Sequence[Path], shards: Sequence[ShardFile], tokenizer: Tokenizer) -> None:
    """Compare the sidecars with the bytes of every whole document's text. Raises DataError."""
    values, left = TokenStream([ShardFile(path) for path in sidecars]), sum(len(shard) for shard in shards)
    for number, ids in enumerate(iterate_documents(shards, tokenizer.bos_id), start=1):
        counted = int(values.take(len(ids)).sum(dtype=np.int64))
        left -= len(ids)
        num_bytes = len(tokenizer.decode(ids, cut=left == 0).encode("utf-8"))
        if ids[0] == tokenizer.bos_id and counted != num_bytes:
            raise DataError(
                f"{sidecars[0].parent}: the sidecars give document {number} {counted} bytes, its text has {num_bytes}",
                hint="they belong to other shards or another tokenizer",
                path=str(sidecars[0]),
            )


def _count_shard(path: Path, shard: ShardFile, tokenizer: Tokenizer, last_id: int | None) -> tuple[int, int]:
    """Bytes and BOS tokens of a shard that follows a shard ending in `last_id`; the very first token is no target."""
    num_bytes = num_documents = 0
    for start in range(0, len(shard), BLOCK_TOKENS):
        block = shard[start : start + BLOCK_TOKENS]
        num_documents += int(np.count_nonzero(block == tokenizer.bos_id))
        tokens = block if last_id is None else np.concatenate((np.array([last_id], np.uint16), block))
        try:
            check_ids_in_vocabulary(tokenizer.byte_table, block)
        except DataError as error:
            raise DataError(f"{path}: {error.message}", hint=error.hint, path=str(path)) from error
        num_bytes += int(tokenizer.sizes(tokens).sum(dtype=np.int64))
        last_id = int(block[-1])
    return num_bytes, num_documents
