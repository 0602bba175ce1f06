"""Tests of golfpipe/data/token_data.py that the stages do not make."""

from __future__ import annotations

import re

import pytest
from stage_chain import Chain

from golfpipe.data.token_data import load_tokenizer, load_validation, load_windows
from golfpipe.data.tokenizer import train_tokenizer
from golfpipe.errors import ArtifactError


def test_tokens_that_the_tokenizer_lacks_are_told_with_the_data(chain: Chain) -> None:
    data = chain.data
    most = int(load_validation(data, load_tokenizer(data)).tokens.max())
    smaller = train_tokenizer(["as many pieces as the bytes need"] * 4, vocab_size=280, normalization="identity")
    assert most >= smaller.vocab_size
    for read in (lambda: load_validation(data, smaller), lambda: load_windows(data, smaller, 32, 0)):
        with pytest.raises(ArtifactError, match=f"{re.escape(str(data.path))}: token id .* lies outside"):
            read()
