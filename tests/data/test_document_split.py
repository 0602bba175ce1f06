from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from golfpipe.data.document_split import (
    TextPart,
    count_copies,
    split_hash,
    split_of,
    survey_documents,
    training_documents,
)
from golfpipe.errors import DataError

texts = st.lists(st.text("ab \n", max_size=3), min_size=2, max_size=12)
fractions = st.floats(0.01, 0.99)


def sides(documents, val_fraction):
    threshold = survey_documents(documents).threshold(val_fraction)
    return {text: split_of(split_hash(text), threshold) for text in documents}, threshold


def test_hash_is_pinned():
    assert split_hash("golfpipe") == 0.15111749947238384
    assert [round(split_hash(text), 3) for text in ("", "a", "\u00e9")] == [0.889, 0.791, 0.291]


@given(texts.filter(lambda documents: len(set(documents)) > 1), fractions)
def test_no_split_is_empty_and_at_most_one_text_changes_sides(documents, val_fraction):
    found, threshold = sides(documents, val_fraction)
    assert set(found.values()) == {"train", "val"}
    moved = {text for text in found if found[text] != split_of(split_hash(text), val_fraction)}
    by_hash = {split_of(split_hash(text), val_fraction) for text in found}
    if by_hash == {"train"}:
        assert moved == {min(found, key=split_hash)}
    elif by_hash == {"val"}:
        assert moved == {max(found, key=split_hash)}
    else:
        assert not moved and threshold == val_fraction


@given(texts.filter(lambda documents: len(set(documents)) > 1), fractions, st.randoms())
def test_neither_order_nor_copies_matter(documents, val_fraction, random):
    found, _ = sides(documents, val_fraction)
    assert sides(random.sample([*documents, documents[0]], len(documents) + 1), val_fraction)[0] == found


@given(texts.filter(lambda documents: len(set(documents)) > 1), fractions, st.floats(0, 1))
def test_a_tokenizer_sees_no_validation_text(documents, val_fraction, share):
    found, threshold = sides(documents, val_fraction)
    train = [text for text in documents if found[text] == "train"]
    parts = [TextPart(read=lambda: documents, threshold=threshold)]
    assert list(training_documents(parts)) == train
    assert Counter(training_documents(parts, share)) <= Counter(train)


@given(texts, texts)
def test_of_parts_for_one_split_each_the_tokenizer_sees_the_training_alone(train, val):
    parts = [TextPart(read=lambda: train, threshold=0.0), TextPart(read=lambda: val, threshold=1.0)]
    assert list(training_documents(parts)) == train
    assert count_copies(train, val) == sum(text in val for text in train)


def test_a_share_of_the_training_documents_is_from_everywhere():
    documents = [f"document {number}" for number in range(2000)]
    taken = set(training_documents([TextPart(read=lambda: documents, threshold=0.5)], share=0.1))
    assert 70 < len(taken) < 130
    assert sum(text in taken for text in documents[:1000]) == pytest.approx(50, abs=25)


@pytest.mark.parametrize("documents", [[], ["a"], ["a", "a", "a"]])
def test_fewer_than_two_texts_are_refused(documents):
    with pytest.raises(DataError, match=f"the corpus has {len(documents)} document") as caught:
        survey_documents(documents).threshold(0.05)
    assert ".jsonl" in caught.value.hint


def test_the_deviation_of_the_share_is_that_of_random_splits():
    sizes = [1, 2, 3, 10] * 5
    survey = survey_documents("x" * size for size in sizes)
    mean, total = 0.2 * sum(sizes), sum(sizes)
    variance = sum(0.2 * 0.8 * size * size for size in sizes)
    assert survey.share_deviation(0.2) == pytest.approx(variance**0.5 / mean)
    assert (survey.documents, survey.bytes, survey.characters) == (20, total, total)
