"""A small tokenizer, trained once, documents encoded with it, and a way to train ones with other settings."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
import sentencepiece

from golfpipe.data.tokenizer import Tokenizer, train_tokenizer


@pytest.fixture(scope="session")
def sentences() -> tuple[str, ...]:
    return (
        "The quick brown fox jumps over the lazy dog, and the other dogs look on without a word.",
        "In 1969 a tokenizer was something else: 42 people, 7 pencils and the paper on the wall.",
        "Gr\u00fc\u00dfe aus K\u00f6ln; \u00e7a va bien, ma\u00f1ana ser\u00e1 otro d\u00eda.",
        "\u041f\u0440\u0438\u0432\u0435\u0442, \u043c\u0438\u0440! \u4f60\u597d\uff0c\u4e16\u754c\u3002",
        "for i in range(10): print(i * i)  # the squares of the numbers below ten",
    )


@pytest.fixture(scope="session")
def tokenizer(sentences: tuple[str, ...]) -> Tokenizer:
    texts = [f"{first} {second}" for first in sentences for second in sentences]
    return train_tokenizer(texts, vocab_size=420, normalization="nmt_nfkc")


@pytest.fixture(scope="session")
def keeping_tokenizer(sentences: tuple[str, ...]) -> Tokenizer:
    """Changes nothing but U+2581."""
    texts = [f"{first}\n  {second}" for first in sentences for second in sentences]
    return train_tokenizer(texts, vocab_size=420, normalization="identity")


@pytest.fixture(scope="session")
def cased_tokenizer(sentences: tuple[str, ...]) -> Tokenizer:
    """Capitals become markers before the space."""
    texts = [f"{first}\n  {second.title()}" for first in sentences for second in sentences]
    return train_tokenizer(texts, vocab_size=420, normalization="identity", transform="caps_before_space")


@pytest.fixture(scope="session")
def encoded(tokenizer: Tokenizer, sentences: tuple[str, ...]) -> list[np.ndarray]:
    """Documents of one to nine sentences."""
    return tokenizer.encode([" ".join((sentences * 3)[start : 2 * start + 1]) for start in range(9)])


@pytest.fixture(scope="session")
def train_plain() -> Callable[..., Tokenizer]:
    """Trains a tokenizer with SentencePiece's settings instead of golfpipe's."""

    def train(**settings: object) -> Tokenizer:
        model = io.BytesIO()
        sentencepiece.SentencePieceTrainer.train(
            model_writer=model,
            minloglevel=3,
            **{
                "sentence_iterator": iter(["the cat sat on the mat and the dog sat on the log"] * 5),
                "model_type": "bpe",
                "vocab_size": 300,
                "hard_vocab_limit": False,
                "byte_fallback": True,
                **settings,
            },
        )
        return Tokenizer(model.getvalue(), "plain.model")

    return train
