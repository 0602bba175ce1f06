"""The paired bootstrap: against a plain loop, against theory, and the same every time."""

from __future__ import annotations

import math

import numpy as np
import pytest

from golfpipe.submission import bootstrap
from golfpipe.submission.bootstrap import paired_bootstrap


def _scores(documents: int, shift: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    source = np.random.default_rng(seed)
    sizes = source.integers(50, 2000, documents)
    first = sizes * source.normal(1.0, 0.2, documents)
    return first, first + sizes * source.normal(shift, 0.05, documents), sizes


def test_against_a_plain_loop() -> None:
    """Other draws of the same law: the interval and p agree within the noise of 4,000 resamples."""
    first, second, sizes = _scores(17, 0.01)
    drawn = np.random.default_rng(3).integers(0, 17, size=(4000, 17))
    plain = sorted(
        sum(second[i] - first[i] for i in row) / (math.log(2) * sum(int(sizes[i]) for i in row)) for row in drawn
    )
    found = paired_bootstrap(first, second, sizes, resamples=4000, seed=4)
    assert found.difference == pytest.approx((second.sum() - first.sum()) / (math.log(2) * sizes.sum()))
    noise = 0.06 * (plain[-1] - plain[0])
    np.testing.assert_allclose([found.low, found.high], np.quantile(plain, [0.025, 0.975]), atol=noise)
    assert found.p_value == pytest.approx(
        2 * min(sum(d <= 0 for d in plain), sum(d >= 0 for d in plain)) / 4000, abs=0.05
    )
    assert found.documents_better + found.documents_worse == found.documents == 17


def test_the_width_is_that_of_the_normal_law() -> None:
    """For many documents of one size the interval is mean +- 1.96 standard errors."""
    gain = np.random.default_rng(1).normal(0.0, 1.0, 400)
    sizes = np.full(400, 100)
    found = paired_bootstrap(np.zeros(400), gain, sizes)
    error = gain.std() / math.sqrt(400) / (math.log(2) * 100)
    assert found.high - found.low == pytest.approx(2 * 1.96 * error, rel=0.05)


def test_a_clear_difference_and_none() -> None:
    better = paired_bootstrap(*_scores(200, -0.02))
    assert better.high < 0 and better.p_value == 2 / 10_001
    first, _, sizes = _scores(200, 0.0)
    same = paired_bootstrap(first, first.copy(), sizes)
    assert (same.difference, same.low, same.high, same.p_value) == (0.0, 0.0, 0.0, 1.0)


def test_p_is_uniform_where_nothing_differs() -> None:
    values = [paired_bootstrap(*_scores(60, 0.0, seed), resamples=300).p_value for seed in range(200)]
    assert np.mean(np.array(values) < 0.1) == pytest.approx(0.1, abs=0.06)


def test_batches_do_not_change_the_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    scores = _scores(30, 0.01)
    whole = paired_bootstrap(*scores, resamples=500, seed=7)
    monkeypatch.setattr(bootstrap, "BATCH_DRAWS", 30 * 7)
    assert paired_bootstrap(*scores, resamples=500, seed=7) == whole
    assert paired_bootstrap(*scores, resamples=500, seed=8) != whole


def test_documents_without_bytes_count_in_the_nats() -> None:
    found = paired_bootstrap(np.array([1.0, 1.0, 1.0]), np.array([2.0, 1.0, 1.0]), np.array([0, 10, 10]), resamples=100)
    assert found.difference == pytest.approx(1 / (math.log(2) * 20))


def test_a_draw_without_bytes_is_no_difference() -> None:
    nats, sizes = np.array([1.0, 1.0]), np.array([0, 10])
    found = paired_bootstrap(nats, np.array([3.0, 1.0]), sizes, resamples=500)
    assert math.isfinite(found.low) and found.low == 0.0
