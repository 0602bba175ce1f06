"""The text of a folder of shards, as tokens of a vocabulary that is trained on its training half."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from golfpipe.data.shard_files import ShardFile, list_shards
from golfpipe.data.shard_format import Split
from golfpipe.data.tokenizer import Tokenizer, train_tokenizer
from golfpipe.scoring.byte_table import scored_bytes


@dataclass(frozen=True, slots=True, eq=False)
class Text:
    """Tokens of both halves, one document after the other, each of which begins with BOS."""

    train: np.ndarray
    """uint16 [N]."""
    val: np.ndarray
    """uint16 [N]."""
    val_bytes: int
    """The bytes of text that the targets val[1:] stand for."""
    vocab_size: int


def load_text(folder: Path, vocab_size: int, kept: Path) -> Text:
    """Return the text of the shards in `folder`, which hold their own tokenizer, as tokens of `vocab_size` pieces.

    The tokens are kept in `kept` (npz), from where the next call takes them.
    """
    if not kept.exists():
        old = Tokenizer.load(next(folder.glob("*.model")))
        train, val = (documents_of(folder, split, old) for split in ("train", "val"))
        new = train_tokenizer(train, vocab_size=vocab_size, normalization="nmt_nfkc")
        val_tokens = np.concatenate(new.encode(val))
        kept.parent.mkdir(parents=True, exist_ok=True)
        np.savez(
            kept,
            train=np.concatenate(new.encode(train)),
            val=val_tokens,
            val_bytes=scored_bytes(new.byte_table, val_tokens, None).sum(),
        )
    with np.load(kept) as arrays:
        return Text(arrays["train"], arrays["val"], int(arrays["val_bytes"]), vocab_size)


def documents_of(folder: Path, split: Split, tokenizer: Tokenizer) -> list[str]:
    """Return the text of the documents of a split, in file order."""
    tokens = np.concatenate([(shard := ShardFile(path))[0 : len(shard)] for path in list_shards(folder, split)])
    starts = np.flatnonzero(tokens == tokenizer.bos_id)
    return [tokenizer.decode(ids) for ids in np.split(tokens, starts) if len(ids) > 1]
