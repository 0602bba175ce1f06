"""How much the place in a text tells of its tokens: documents of one kind that stand together teach a model badly."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from golfpipe.scoring.documents import document_starts
from golfpipe.training.token_stream import TokenSource, TokenStream

STRETCHES = 8
STRETCH_TOKENS = 1 << 16
FEWEST_DOCUMENTS = 100
"""Fewer differ by chance."""
MOST_BITS = 0.05
"""From here on a warning is due. Mixed documents have about 0; texts of several languages, one after the other, 1 to 3;
sources of one language, file by file, 0.1."""


def order_bits(shards: Sequence[TokenSource], bos_id: int) -> float:
    """Return the bits per token that the place tells, as the mutual information of tokens and eight stretches that lie
    evenly in the text; less what it is once the same documents are dealt out at random. 0 for too few documents.

    At most half a million tokens are read.
    """
    num_tokens = sum(len(shard) for shard in shards)
    length = min(STRETCH_TOKENS, num_tokens // STRETCHES)
    if length == 0:
        return 0.0
    stream = TokenStream(shards)
    places = [round((num_tokens - length) * k / (STRETCHES - 1)) for k in range(STRETCHES)]
    tokens = np.concatenate([stream.span(place, place + length) for place in places])
    starts = np.union1d(document_starts(tokens, bos_id), np.arange(STRETCHES) * length)
    if len(starts) < FEWEST_DOCUMENTS:
        return 0.0
    sizes = np.diff(np.append(starts, len(tokens)))
    stretch_of_document = starts // length
    dealt_out = np.random.default_rng(0).permutation(stretch_of_document)
    found, by_chance = (
        _mutual_information(np.repeat(stretches, sizes), tokens) for stretches in (stretch_of_document, dealt_out)
    )
    return found - by_chance


def order_warning(bits: float, name: str) -> str | None:
    """Return what to say of the documents called `name`, if anything."""
    if bits < MOST_BITS:
        return None
    return (
        f"{name}: neighbors are alike, a token's place tells {bits:.2f} bits of it; a model learns one kind after the"
        " other and forgets the first. Mix the documents: data tokenize does, unless data.shuffle=false"
    )


def _mutual_information(stretches: np.ndarray, tokens: np.ndarray) -> float:
    """Return the bits that a token's stretch tells of it."""
    vocab_size = int(tokens.max()) + 1
    counts = np.bincount(stretches * vocab_size + tokens, minlength=STRETCHES * vocab_size)
    joint = counts.reshape(STRETCHES, vocab_size) / len(tokens)
    independent = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
    some = joint > 0
    return float((joint[some] * np.log2(joint[some] / independent[some])).sum())
