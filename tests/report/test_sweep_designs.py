"""Designs of a sweep of trainings: seeds taken together, and the noise of differences at equal seeds."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from golfpipe.report.sweep_designs import paired_noise, shown_rows, size_axis

stats = pytest.importorskip("scipy.stats")


def _row(layers: int, seed: int, bpb: float | None, size: int = 1000, **more: Any) -> dict[str, Any]:
    settings = {"model.num_layers": layers, "seed": seed}
    return {
        "settings": settings, "state": "done" if bpb is not None else "failed", "val_bpb": bpb, "total_bytes": size,
        "train_seconds": 10.0 * layers, "fits": True, "commands": [["golfpipe"]],
        "artifacts": {"train": "there"},
    } | more  # fmt: skip


def test_for_two_designs_the_noise_is_that_of_the_paired_t_test() -> None:
    draws = np.random.default_rng(0)
    for seeds in (2, 3, 8):
        bpb_DS = draws.normal(2.0, 0.1, (2, seeds)) + draws.normal(0, 1, seeds)
        interval = stats.ttest_rel(*bpb_DS).confidence_interval(0.95)
        assert paired_noise(bpb_DS) == pytest.approx((interval.high - interval.low) / 2, rel=1e-12)


def test_the_interval_holds_the_true_difference_in_19_of_20_sweeps() -> None:
    draws = np.random.default_rng(1)
    held = 0
    for _ in range(2000):
        bpb_DS = draws.normal(0, 0.01, (4, 3)) + draws.normal(0, 1, 3) + np.array([[0.0], [0.1], [0.2], [0.3]])
        noise = paired_noise(bpb_DS)
        assert noise is not None
        held += abs((bpb_DS[2] - bpb_DS[0]).mean() - 0.2) <= noise
    assert 0.935 < held / 2000 < 0.965


@pytest.mark.parametrize("shape", [(1, 3), (3, 1), (1, 1)])
def test_one_design_or_one_seed_has_no_noise(shape: tuple[int, int]) -> None:
    assert paired_noise(np.zeros(shape)) is None


def test_designs_are_means_over_their_seeds_beside_the_first_one_at_equal_seeds() -> None:
    scores = ((4, 0, 2.0), (4, 1, 2.4), (6, 0, 1.9), (6, 1, 2.2), (8, 0, None), (8, 1, 2.3))
    rows = shown_rows([_row(*values) for values in scores])
    assert [row["settings"] for row in rows] == [{"model.num_layers": n} for n in (4, 6, 8)]
    assert [row["seeds"] for row in rows] == [2, 2, 1]
    assert [row["val_bpb"] for row in rows] == pytest.approx([2.2, 2.05, 2.3])
    assert rows[0]["from_first"] is None and rows[1]["from_first"] == pytest.approx(-0.15)
    assert rows[2]["from_first"] == pytest.approx(2.3 - 2.4) and rows[2]["from_first_noise"] is None
    assert rows[2]["state"] == "failed"
    left = stats.t.ppf(0.975, 1) * math.sqrt(2 * 4 * 0.025**2 / 2)  # the mean difference is off by 0.05 at each seed
    assert rows[1]["from_first_noise"] == pytest.approx(left)


def test_equal_bytes_leave_seconds_as_what_a_score_is_set_against() -> None:
    equal = [_row(4, 0, 2.0, 1000), _row(6, 0, 1.9, 1004)]
    assert size_axis(equal) == "train_seconds"
    assert [row["pareto"] for row in shown_rows([*equal, _row(8, 0, 1.95, 1000)])] == [True, True, False]
    assert size_axis([_row(4, 0, 2.0, 1000), _row(6, 0, 1.9, 1100)]) == "total_bytes"
    assert size_axis([_row(4, 0, 2.0, 1000)]) == "total_bytes"


def test_cells_of_one_model_stay_as_they_are() -> None:
    rows = [{"settings": {"pack.coder": "range"}, "val_bpb": 2.0, "total_bytes": 10, "train_seconds": None}]
    assert shown_rows(rows) == rows
