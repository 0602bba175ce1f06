"""Clip search against brute force in float64, then ties, zero rows and errors."""

import numpy as np
import pytest
import torch

from golfpipe.errors import StageFailed
from golfpipe.quant.clip_search import choose_scales
from golfpipe.quant.config import CLIP_GRIDS


def brute_force_errors(w_RC: torch.Tensor, bits: int, ratios: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    """(scales fp16 [K, R], squared errors fp64 [K, R]), everything but the scale in float64."""
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    w = w_RC.double().numpy()
    scales = np.stack([(w_RC.abs().amax(1) * ratio / high).half().numpy() for ratio in ratios])
    errors = []
    for scale in scales.astype(np.float64):
        divisor = np.where(scale == 0, np.inf, scale)[:, None]
        errors.append(((w - np.clip(np.rint(w / divisor), low, high) * scale[:, None]) ** 2).sum(1))
    return scales, np.stack(errors)


@pytest.mark.parametrize("grid", sorted(CLIP_GRIDS))
@pytest.mark.parametrize("bits", [2, 4, 6, 8])
@pytest.mark.parametrize("shape", [(96, 64), (5, 1000), (1, 8)])
def test_choice_matches_brute_force(bits, grid, shape):
    ratios = CLIP_GRIDS[grid]
    w_RC = torch.randn(shape, generator=torch.Generator().manual_seed(bits)) * 0.05
    choice = choose_scales(w_RC, bits, ratios)
    scales, errors = brute_force_errors(w_RC, bits, ratios)
    rows, index = np.arange(shape[0]), choice.ratio_index_R.numpy()
    np.testing.assert_array_equal(choice.scale_R1.numpy()[:, 0], scales[index, rows])
    np.testing.assert_allclose(choice.squared_error_R.numpy(), errors[index, rows], rtol=1e-5)
    np.testing.assert_allclose(errors[index, rows], errors.min(0), rtol=1e-5)
    assert (index == errors.argmin(0)).mean() > 0.95


def test_chunks_do_not_change_the_result(monkeypatch):
    w_RC = torch.randn(50, 24, generator=torch.Generator().manual_seed(0))
    whole = choose_scales(w_RC, 4, CLIP_GRIDS["wide"])
    monkeypatch.setattr("golfpipe.quant.clip_search._SEARCH_CHUNK", {"cpu": 24 * 7})
    parts = choose_scales(w_RC, 4, CLIP_GRIDS["wide"])
    assert torch.equal(whole.scale_R1, parts.scale_R1)
    assert torch.equal(whole.squared_error_R, parts.squared_error_R)


@pytest.mark.parametrize("bits", [3, 4, 6, 8])
@pytest.mark.parametrize("power", [1, 3])
def test_ending_early_changes_nothing(bits, power, monkeypatch):
    w_RC = torch.randn(40, 300, generator=torch.Generator().manual_seed(bits)) ** power
    w_RC[3] = 0
    tried = []
    add = torch.addcmul
    monkeypatch.setattr(torch, "addcmul", lambda *args, **options: tried.append(1) or add(*args, **options))
    early = choose_scales(w_RC, bits, CLIP_GRIDS["wide"])
    count = len(tried)
    monkeypatch.setattr("golfpipe.quant.clip_search._BOUND_EVERY", 1000)
    full = choose_scales(w_RC, bits, CLIP_GRIDS["wide"])
    assert torch.equal(early.ratio_index_R, full.ratio_index_R)
    assert torch.equal(early.squared_error_R, full.squared_error_R)
    assert len(tried) - count == len(CLIP_GRIDS["wide"])
    if power == 1 and bits >= 4:
        assert count < len(CLIP_GRIDS["wide"])


@pytest.mark.parametrize("ratios", [(0.5, 1.0), (1.0, 0.5)])
def test_ties_go_to_the_larger_ratio_in_any_order(ratios):
    # A zero row has error 0 under every ratio; 2^-24 / 7 rounds to a zero scale under every ratio.
    w_RC = torch.tensor([[0.0, 0.0], [2.0**-26, 0.0]])
    choice = choose_scales(w_RC, 4, ratios)
    assert [ratios[k] for k in choice.ratio_index_R] == [1.0, 1.0]
    assert choice.scale_R1.tolist() == [[0.0], [0.0]]
    assert choice.squared_error_R.tolist() == [0.0, 2.0**-52]


def test_ratios_with_the_same_fp16_scale_tie():
    # fp16's smallest step: both ratios give the scale 2^-24.
    choice = choose_scales(torch.full((1, 3), 7 * 2.0**-24), 4, (0.9, 1.0))
    assert choice.ratio_index_R.tolist() == [1]


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_non_finite_weights_name_tensor_and_row(bad):
    w_RC = torch.ones(3, 4)
    w_RC[1, 2] = bad
    with pytest.raises(StageFailed, match=r"blocks\.3\.mlp\.input\.weight: weights are NaN or infinite in row 1"):
        choose_scales(w_RC, 4, (1.0,), name="blocks.3.mlp.input.weight")


def test_infinite_scale_is_an_error():
    w_RC = torch.ones(3, 4)
    w_RC[2, 0] = 65504 * 8.0
    with pytest.raises(StageFailed, match="big: the scale exceeds fp16 in row 2"):
        choose_scales(w_RC, 4, (0.5, 1.0), name="big")
