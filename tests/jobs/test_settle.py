"""Calibration by default: the key holds what is done, and only that."""

import dataclasses
from pathlib import Path

import pytest

from golfpipe.config.resolve import load_stages, resolve_config
from golfpipe.jobs.job import Job
from golfpipe.jobs.key import job_key
from golfpipe.jobs.registry import STAGES
from golfpipe.jobs.settle import settled

QUANTIZE = STAGES["quantize"]
TARGETS = ("quantize.target_bytes=60e3", "quantize.target_bytes=limit", "quantize.target_bits=3")


def config_of(*overrides: str):
    return resolve_config(load_stages(), preset="demo", overrides=overrides).config


def key_of(config, data_at_hand: bool) -> str:
    digests = {"model": "m", **({"data": "d"} if config.quantize.calibration == "train" else {})}
    assert config.quantize.calibration != "train" or data_at_hand
    return job_key(QUANTIZE, config, digests)


@pytest.mark.parametrize("target", [(), *((target,) for target in TARGETS)])
@pytest.mark.parametrize("data_at_hand", [True, False])
def test_auto_is_the_same_work_as_the_choice_that_it_stands_for(target, data_at_hand):
    choice = "train" if target and data_at_hand else "none"
    auto = settled(QUANTIZE, config_of(*target), data_at_hand=data_at_hand)
    said = settled(QUANTIZE, config_of(*target, f"quantize.calibration={choice}"), data_at_hand=data_at_hand)
    assert auto == said
    assert key_of(auto, data_at_hand) == key_of(said, data_at_hand)


@pytest.mark.parametrize("choice", ["none", "train", "generated"])
def test_what_somebody_chose_stays(choice):
    config = config_of(TARGETS[0], f"quantize.calibration={choice}")
    assert all(settled(QUANTIZE, config, data_at_hand=at_hand) == config for at_hand in (True, False))


def test_other_stages_keep_the_question_open():
    config = config_of(TARGETS[0])
    for name, stage in STAGES.items():
        if name != "quantize":
            assert settled(stage, config, data_at_hand=True).quantize.calibration == "auto"


def test_no_job_of_quantize_holds_auto():
    for overrides in ((), *((target,) for target in TARGETS)):
        job = Job(stage=QUANTIZE, config=config_of(*overrides), inputs={}, out=Path("x"))
        assert job.config.quantize.calibration == "none"
        again = dataclasses.replace(job, out=Path("y"))
        assert again.config == job.config
