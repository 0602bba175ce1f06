"""A small tokenizer, trained once, and shard folders made with it."""

from __future__ import annotations

import numpy as np
import pytest

from golfpipe.data.tokenizer import Tokenizer, train_tokenizer

SENTENCES = (
    "The quick brown fox jumps over the lazy dog, and the other dogs look on without a word.",
    "In 1969 a tokenizer was something else: 42 people, 7 pencils and the paper on the wall.",
    "Gr\u00fc\u00dfe aus K\u00f6ln; \u00e7a va bien, ma\u00f1ana ser\u00e1 otro d\u00eda.",
    "\u041f\u0440\u0438\u0432\u0435\u0442, \u043c\u0438\u0440! \u4f60\u597d\uff0c\u4e16\u754c\u3002",
    "for i in range(10): print(i * i)  # the squares of the numbers below ten",
)


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    return train_tokenizer((f"{a} {b}" for a in SENTENCES for b in SENTENCES), vocab_size=420)


@pytest.fixture(scope="session")
def encoded(tokenizer: Tokenizer) -> list[np.ndarray]:
    """Documents of several lengths."""
    return tokenizer.encode([" ".join(SENTENCES[i % 5] for i in range(start, start + 1 + start)) for start in range(9)])
