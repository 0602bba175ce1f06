import pytest
from hypothesis import given
from hypothesis import strategies as st

from golfpipe.data.document_split import SplitRouter, split_hash, split_of, training_documents
from golfpipe.errors import DataError

positions = st.lists(st.floats(0, 1, exclude_max=True), min_size=2, max_size=9, unique=True)


def route_all(positions: list[float], val_fraction: float) -> list[tuple[str, float]]:
    router: SplitRouter[float] = SplitRouter(val_fraction)
    routed = [pair for position in positions for pair in router.route(position, position)]
    return [*routed, *router.finish()]


def test_hash_is_pinned():
    assert split_hash("golfpipe") == 0.15111749947238384
    assert [round(split_hash(text), 3) for text in ("", "a", "\u00e9")] == [0.889, 0.791, 0.291]


@given(positions, st.floats(0.01, 0.99))
def test_every_document_goes_once_to_its_split_and_no_split_is_empty(positions, val_fraction):
    routed = route_all(positions, val_fraction)
    assert sorted(position for _, position in routed) == sorted(positions)
    assert {split for split, _ in routed} == {"train", "val"}
    moved = [position for split, position in routed if split != split_of(position, val_fraction)]
    by_hash = {split_of(position, val_fraction) for position in positions}
    if by_hash == {"train"}:
        assert moved == [min(positions)]
    elif by_hash == {"val"}:
        assert moved == [max(positions)]
    else:
        assert moved == []


@given(positions, st.floats(0.01, 0.99), st.randoms())
def test_order_of_the_documents_does_not_matter(positions, val_fraction, random):
    shuffled = random.sample(positions, len(positions))
    assert set(route_all(positions, val_fraction)) == set(route_all(shuffled, val_fraction))


@pytest.mark.parametrize("positions", [[], [0.5], [0.01]])
def test_fewer_than_two_documents_are_refused(positions):
    with pytest.raises(DataError, match=f"the corpus has {len(positions)} document") as caught:
        route_all(positions, 0.05)
    assert ".jsonl" in caught.value.hint


def test_tokenizer_training_leaves_validation_out():
    documents = [f"document {number}" for number in range(200)]
    kept = list(training_documents(documents, 0.3))
    assert kept == [text for text in documents if split_hash(text) >= 0.3]
    assert 110 < len(kept) < 170
