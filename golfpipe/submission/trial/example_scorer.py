"""A scoring method for `golfpipe trial`: counts of pairs of tokens that grow while it scores. Start from here.

`golfpipe trial scorer.py DATA` calls these functions on the beginning of the validation split, on the same text with
other tokens from some place on, and on shorter texts. Each call begins from nothing.

tokens  ids of tokens, an array of N + 1 integers. Target i, for i from 0 to N - 1, is tokens[i + 1].
nats    minus the natural logarithm of the probability that a target got before it was seen.

The variable GOLFPIPE_DATA names a folder with the tokenizer and the validation shard, which holds the text that is
scored just then. Other files that the method reads, such as its weights, are named with --allow.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

MANIFEST = json.loads(Path(os.environ["GOLFPIPE_DATA"], "manifest.json").read_text())
VOCAB_SIZE = MANIFEST["metrics"]["vocab_size"]


def score(tokens: np.ndarray) -> np.ndarray:
    """Return the nats of every target [N]."""
    return -np.log([row[token] for row, token in zip(_distributions(tokens), tokens[1:], strict=True)])


def probabilities(tokens: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Return the probabilities of every token of the vocabulary at some targets [len(targets), V]. Optional: without it
    the trial knows the scores alone."""
    wanted = set(targets.tolist())
    return np.stack([row for target, row in enumerate(_distributions(tokens)) if target in wanted])


# def order(tokens):
#     """Return the targets in the order in which they are scored. Optional, for methods that take documents in another
#     order than the text has them. It may look at where documents begin, and at nothing else."""
#     return np.arange(len(tokens) - 1)


def _distributions(tokens: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the distribution of each target, made of the tokens before it."""
    single = np.full(VOCAB_SIZE, 1 / VOCAB_SIZE)
    pairs: dict[int, np.ndarray] = {}
    for before, token in zip(tokens[:-1].tolist(), tokens[1:].tolist(), strict=True):
        follows = pairs.setdefault(before, np.zeros(VOCAB_SIZE))
        yield (follows + single / single.sum()) / (follows.sum() + 1)
        follows[token] += 1  # only now: the target has its score
        single[token] += 1
