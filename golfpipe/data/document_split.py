"""The split of documents into training and validation, decided by a hash of each one's text, never by its position.

So the same document is on the same side in every run, order and corpus, and its copies are never on both sides.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

from golfpipe.data.shard_files import Split
from golfpipe.errors import DataError

Item = TypeVar("Item")


def split_hash(text: str) -> float:
    """Return a number in [0, 1) that depends on the text alone: the leading 53 bits of its SHA-256."""
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return (int.from_bytes(digest[:8], "big") >> 11) / 2**53


def split_of(position: float, val_fraction: float) -> Split:
    """Return the split of a document whose `split_hash` is `position`."""
    return "val" if position < val_fraction else "train"


def training_documents(documents: Iterable[str], val_fraction: float) -> Iterator[str]:
    """Yield the documents that a tokenizer may be trained on: those that the hash does not send to validation."""
    return (text for text in documents if split_of(split_hash(text), val_fraction) == "train")


class SplitRouter(Generic[Item]):
    """Sends documents to their split, in order, and makes sure that neither split stays empty.

    As long as all documents so far belong to one split, the one whose hash lies nearest to the other split is held
    back; if no document of the other split comes, the held one changes sides. So even a small corpus has a validation
    document, the one with the smallest hash, and memory holds only one document.
    """

    def __init__(self, val_fraction: float) -> None:
        self._val_fraction = val_fraction
        self._held: tuple[float, Item] | None = None
        self._splits_seen: set[Split] = set()
        self._num_documents = 0

    def route(self, position: float, item: Item) -> Iterator[tuple[Split, Item]]:
        """Take the next document and its `split_hash`, and yield what may be written now."""
        self._num_documents += 1
        split = split_of(position, self._val_fraction)
        first_of_its_split = split not in self._splits_seen
        self._splits_seen.add(split)
        if len(self._splits_seen) == 2:
            if self._held is not None:
                assert first_of_its_split
                held_split: Split = "train" if split == "val" else "val"
                yield held_split, self._held[1]
                self._held = None
            yield split, item
        elif self._held is None:
            self._held = (position, item)
        else:
            nearer = position < self._held[0] if split == "train" else position > self._held[0]
            released = self._held[1] if nearer else item
            if nearer:
                self._held = (position, item)
            yield split, released

    def finish(self) -> Iterator[tuple[Split, Item]]:
        """Yield the held document for the split that would stay empty. Raises DataError for less than two documents."""
        if self._num_documents < 2:
            raise DataError(
                f"the corpus has {self._num_documents} document{'' if self._num_documents == 1 else 's'}; "
                "at least two are needed, one of them for validation",
                hint="one .txt file is one document: give several files, a .jsonl file with one document per line, "
                "or a separator that cuts the text into documents",
            )
        if self._held is not None:
            yield ("train" if "val" in self._splits_seen else "val"), self._held[1]
            self._held = None
