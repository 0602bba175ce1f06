"""Validation text in the training shards is found by content, against a search by brute force."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from golfpipe.data.overlap import HEAD_TOKENS, find_overlap

BOS = 1
documents = st.lists(st.lists(st.sampled_from([2, 3]), max_size=3) | st.just([5] * 70), max_size=8)


def tokens_of(texts: list[list[int]]) -> np.ndarray:
    return np.array([token for text in texts for token in (BOS, *text)], dtype=np.uint16)


def cut(tokens: np.ndarray, size: int) -> list[np.ndarray]:
    return [tokens[start : start + size] for start in range(0, len(tokens), size)]


@settings(deadline=None)
@given(documents, documents, st.integers(1, 50))
def test_every_document_is_looked_for_in_every_place(train, val, size) -> None:
    shards = cut(tokens_of(train), size)
    found = find_overlap(shards, cut(tokens_of(val), 7), BOS)
    heads = [tuple(text[:HEAD_TOKENS]) for text in train if text]
    assert found.documents == sum(1 for text in val if text)
    assert found.found == sum(1 for text in val if text and tuple(text[:HEAD_TOKENS]) in heads)
    wanted = {tuple(text[:HEAD_TOKENS]) for text in val if text}
    starts = np.cumsum([0, *[len(text) + 1 for text in train]])
    places = [
        int(start) // size for text, start in zip(train, starts, strict=False) if tuple(text[:HEAD_TOKENS]) in wanted
    ]
    assert found.by_shard == {place: places.count(place) for place in places}


@pytest.mark.parametrize(("place", "found"), [(HEAD_TOKENS - 1, 0), (HEAD_TOKENS, 1)])
def test_the_first_tokens_decide(place: int, found: int) -> None:
    text = list(range(2, 102))
    other = text.copy()
    other[place] = 999
    assert find_overlap([tokens_of([text])], [tokens_of([other])], BOS).found == found


def test_a_short_document_is_not_the_beginning_of_a_long_one() -> None:
    assert find_overlap([tokens_of([[2, 3, 4]])], [tokens_of([[2, 3]])], BOS).found == 0


def test_a_part_without_its_beginning_is_no_document() -> None:
    part = np.array([2, 3, BOS, 4], dtype=np.uint16)
    assert find_overlap([part], [part], BOS) == find_overlap([tokens_of([[4]])], [tokens_of([[4]])], BOS)
