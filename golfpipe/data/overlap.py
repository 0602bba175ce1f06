"""Find validation text in the training shards by what documents say, wherever they lie."""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

from golfpipe.data.inspect import iterate_documents
from golfpipe.training.token_stream import TokenSource

HEAD_TOKENS = 64
"""A document is known by so many first tokens behind its BOS, or all where it has fewer."""


@dataclass(frozen=True, slots=True)
class Overlap:
    """Validation documents that are in the training shards."""

    documents: int
    """Validation documents that were looked for."""
    found: int
    """Those that a training document begins like."""
    by_shard: dict[int, int]
    """Number of a training shard -> how many of its documents begin like one for validation."""


def find_overlap(train: Sequence[TokenSource], val: Sequence[TokenSource], bos_id: int) -> Overlap:
    """Look for the beginnings of all validation documents at the document starts of the training shards.

    The shards are read once, in blocks; memory holds 16 bytes for each validation document.
    """
    wanted = Counter(head for _, head in _heads(val, bos_id))
    ends = list(accumulate(len(shard) for shard in train))
    by_shard: Counter[int] = Counter()
    found: set[bytes] = set()
    for place, head in _heads(train, bos_id):
        if head in wanted:
            found.add(head)
            by_shard[bisect_right(ends, place)] += 1
    return Overlap(wanted.total(), sum(wanted[head] for head in found), dict(by_shard))


def _heads(shards: Sequence[TokenSource], bos_id: int) -> Iterator[tuple[int, bytes]]:
    """Yield where each document begins, and a digest of its first tokens. A part without BOS is none, nor is an empty
    document."""
    place = 0
    for ids in iterate_documents(shards, bos_id):
        if ids[0] == bos_id and len(ids) > 1:
            yield place, hashlib.blake2b(ids[1 : HEAD_TOKENS + 1].tobytes(), digest_size=16).digest()
        place += len(ids)
