"""A training that is compared with the leader's curve."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
from stage_chain import Chain

from golfpipe.errors import StageFailed
from golfpipe.jobs.job import Job
from golfpipe.jobs.run import run_job
from golfpipe.loading.leader import BEHIND, PARTS, LeaderCurve, Pursuit, leader_curve, mean_bits


def test_parts_have_the_mean_of_their_losses_in_bits_per_byte() -> None:
    losses = [(step, float(step)) for step in range(1, 33)]
    means = mean_bits(losses, 32, 2.5)
    assert means == pytest.approx([(2 * part + 1.5) / math.log(2) / 2.5 for part in range(PARTS)])
    assert len(mean_bits(losses[:4], 4, 1.0)) == PARTS  # fewer steps than parts


@pytest.mark.parametrize(("factor", "stops"), [(1.02, None), (0.9, None), (1.05, 0.5625)])
def test_it_is_stopped_once_a_part_is_worse_by_more_than_the_margin(factor: float, stops: float | None) -> None:
    losses = [(step, 4.0 - step / 100) for step in range(1, 161)]
    curve = LeaderCurve(bits=mean_bits(losses, 160, 2.0), bytes_per_token=2.0, margin=0.03)
    pursuit = Pursuit(curve, 160)
    said = [(step, pursuit.behind([(step, loss * factor)])) for step, loss in losses]
    told = [(step, text) for step, text in said if text is not None]
    assert (told[0][0] / 160 if told else None) == stops
    assert all(text.startswith(BEHIND) for _, text in told)


def test_another_length_and_another_tokenizer_are_compared_by_share_and_by_bytes() -> None:
    leader = [(step, 3.0) for step in range(1, 101)]
    curve = LeaderCurve(bits=mean_bits(leader, 100, 2.0), bytes_per_token=4.0, margin=0.03)
    assert Pursuit(curve, 40).behind([(step, 6.0) for step in range(1, 41)]) is None
    assert Pursuit(curve, 40).behind([(step, 6.5) for step in range(1, 41)]) is not None


def test_a_training_that_went_on_from_a_checkpoint_is_judged_by_what_it_saw() -> None:
    curve = LeaderCurve(bits=(1.0,) * PARTS, bytes_per_token=1.0, margin=0.03)
    assert Pursuit(curve, 160).behind([(step, 0.6) for step in range(100, 161)]) is None


def test_a_training_behind_the_leader_ends_and_one_that_keeps_up_is_the_same(chain: Chain, tmp_path: Path) -> None:
    def job(bits: float) -> Job:
        curve = LeaderCurve(bits=(bits,) * PARTS, bytes_per_token=1.0, margin=0.03)
        return replace(chain.job("train", str(tmp_path / f"{bits}"), data=chain.data), arguments={"leader": curve})

    with pytest.raises(StageFailed, match=BEHIND):
        run_job(replace(job(0.1), argument_digest=""))
    kept = run_job(replace(job(99.0), argument_digest="")).artifact
    assert (
        kept.manifest.digest == chain.trained.manifest.digest
        and kept.manifest.key == replace(job(0.1), argument_digest="").key
    )
    curve = leader_curve(kept, 2.0, 0.03)
    assert len(curve.bits) == PARTS and curve.bits[-1] < curve.bits[0]
