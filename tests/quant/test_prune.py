"""Pruning zeroes an exact count, smallest first, ties by index."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from golfpipe.quant.prune import prune_smallest


def test_smallest_go_first_and_ties_by_index():
    weight = torch.tensor([[3.0, -1.0, 1.0], [1.0, 2.0, -1.0]])
    assert prune_smallest(weight, 0.5).tolist() == [[3.0, 0.0, 0.0], [0.0, 2.0, -1.0]]
    assert weight[0, 1] == -1.0  # the input is untouched


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 2**32), fraction=st.floats(0, 0.99), levels=st.integers(1, 50))
def test_exact_count_and_nothing_larger_than_what_stays(seed, fraction, levels):
    weight = torch.randint(1, levels + 1, (9, 11), generator=torch.Generator().manual_seed(seed)).float()
    pruned = prune_smallest(weight, fraction)
    gone = pruned == 0
    assert int(gone.sum()) == int(fraction * weight.numel())
    assert torch.equal(pruned[~gone], weight[~gone])
    if gone.any() and not gone.all():
        assert weight[gone].max() <= weight[~gone].min()


@pytest.mark.parametrize("shape", [(), (4,)])
def test_fraction_zero_copies(shape):
    weight = torch.ones(shape)
    assert torch.equal(prune_smallest(weight, 0.0), weight)
