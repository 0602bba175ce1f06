"""The split of documents into training and validation, decided by a hash of each one's text, never by its position.

So the same text is on the same side in every run and order, and copies of it are never on both sides. Only where files
say by their names which split they are, those names decide.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from golfpipe.data.shard_format import Split
from golfpipe.errors import DataError


def split_hash(text: str) -> float:
    """Return a number in [0, 1) that depends on the text alone: the leading 53 bits of its SHA-256."""
    return _fraction(_digest(text)[:8])


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8")).digest()


def _fraction(digest: bytes) -> float:
    return (int.from_bytes(digest, "big") >> 11) / 2**53


def split_of(position: float, threshold: float) -> Split:
    """Return the split of a document whose `split_hash` is `position`."""
    return "val" if position < threshold else "train"


@dataclass(frozen=True, kw_only=True, slots=True)
class TextPart:
    """Documents that are divided in one manner."""

    read: Callable[[], Iterable[str]]
    threshold: float
    """Documents whose `split_hash` lies below it go to validation: 0 sends none there, 1 all."""


@dataclass(slots=True)
class Survey:
    """What has to be known of all documents before the first one can be written."""

    documents: int = 0
    characters: int = 0
    bytes: int = 0
    """UTF-8."""
    squared_bytes: int = 0
    """Sum of the squares of the documents' bytes."""
    lowest: float = 1.0
    """The smallest and the largest `split_hash`."""
    highest: float = 0.0

    def add(self, text: str) -> None:
        """Take one more document into account."""
        position, size = split_hash(text), len(text.encode("utf-8"))
        self.documents += 1
        self.characters += len(text)
        self.bytes += size
        self.squared_bytes += size * size
        self.lowest, self.highest = min(self.lowest, position), max(self.highest, position)

    def threshold(self, val_fraction: float) -> float:
        """Return the number below which a text's hash sends it to validation: `val_fraction`, unless that would leave a
        split without text. Then the text whose hash is nearest to the other split changes sides, with all its copies.

        Raises DataError for fewer than two different texts.
        """
        if not self.lowest < self.highest:
            texts = f"{self.documents} document{'' if self.documents == 1 else 's'}"
            same = " of the same text" if self.documents > 1 else ""
            raise DataError(
                f"the corpus has {texts}{same}; at least two are needed, one of them for validation",
                hint="give more text, a .jsonl file with one document per line, or a separator that cuts the text into"
                " documents",
            )
        return min(max(val_fraction, math.nextafter(self.lowest, 1)), self.highest)

    def share_deviation(self, val_fraction: float) -> float:
        """Return the standard deviation of validation's share of bytes over its expected value. Each document goes
        there by itself, with its whole size."""
        return math.sqrt((1 - val_fraction) / val_fraction * self.squared_bytes) / self.bytes


def survey_documents(documents: Iterable[str]) -> Survey:
    """Look at all documents."""
    survey = Survey()
    for text in documents:
        survey.add(text)
    return survey


def training_documents(parts: Sequence[TextPart], share: float = 1.0) -> Iterator[str]:
    """Yield the documents that a tokenizer may be trained on: those that are not for validation; or a `share` of them,
    which other bits of the hash choose, so that they are from everywhere."""
    for part in parts:
        if part.threshold >= 1:
            continue
        for text in part.read():
            digest = _digest(text)
            if split_of(_fraction(digest[:8]), part.threshold) == "train" and _fraction(digest[8:16]) < share:
                yield text


def count_copies(training: Iterable[str], validation: Iterable[str]) -> int:
    """Return how many training documents are also validation documents, word for word."""
    digests = {_digest(text)[:16] for text in validation}
    return sum(_digest(text)[:16] in digests for text in training)
