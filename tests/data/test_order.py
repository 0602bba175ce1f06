import numpy as np
import pytest

from golfpipe.data.order import order_bits, order_warning


def documents(kinds, seed=0):
    """A document of 40 to 200 tokens per kind, which prefers tokens of its own."""
    source = np.random.default_rng(seed)
    return [
        np.concatenate(([1], np.where(source.random(size) < 0.5, 2 + 20 * kind, 2) + source.integers(0, 20, size)))
        for kind, size in zip(kinds, source.integers(40, 200, len(kinds)), strict=True)
    ]


def test_kinds_one_after_the_other_are_noticed():
    kinds = np.repeat(np.arange(4), 200)
    alike = [np.concatenate(documents(kinds)).astype(np.uint16)]
    mixed = [np.concatenate(documents(np.random.default_rng(1).permutation(kinds))).astype(np.uint16)]
    assert order_bits(alike, 1) > 0.3
    assert abs(order_bits(mixed, 1)) < 0.02
    assert "neighbors are alike" in order_warning(order_bits(alike, 1), "train split")
    assert order_warning(order_bits(mixed, 1), "train split") is None


def test_long_documents_of_their_own_kind_are_no_order():
    """Each document has words of its own, which its stretch then has too, in whatever order."""
    kinds = np.random.default_rng(0).permutation(150)
    assert abs(order_bits([np.concatenate(documents(kinds)).astype(np.uint16)], 1)) < 0.05


@pytest.mark.parametrize("count", [0, 1, 7, 50])
def test_few_documents_tell_nothing(count):
    tokens = np.concatenate([*documents(list(range(count))), np.empty(0, int)]).astype(np.uint16)
    assert order_bits([tokens], 1) == 0.0
