"""Tests of golfpipe/config/later.py: at its idle value a later setting is nowhere to be seen."""

from __future__ import annotations

from dataclasses import replace

import pytest

from golfpipe.config.later import IDLE_VALUES, plain_model, with_idle, without_idle
from golfpipe.config.schema import PipelineConfig, build_config, plain_config, setting_value
from golfpipe.jobs.key import deciding_changes, relevant_config
from golfpipe.jobs.registry import STAGES
from golfpipe.model.config import ModelConfig


@pytest.mark.parametrize("key", IDLE_VALUES)
def test_the_default_is_idle(key: str) -> None:
    assert setting_value(plain_config(PipelineConfig()), key) == IDLE_VALUES[key]


def test_idle_settings_go_and_come_back() -> None:
    plain = plain_config(PipelineConfig())
    bare = without_idle(plain)
    for key in IDLE_VALUES:
        with pytest.raises(KeyError):
            setting_value(bare, key)
    assert with_idle(bare) == plain
    assert build_config(bare) == PipelineConfig()
    assert without_idle({}) == with_idle({}) == {}, "sections that are missing stay missing"


def test_a_setting_in_use_stays_and_is_told() -> None:
    config = PipelineConfig()
    changed = replace(config, train=replace(config.train, spike_nats=2.0))
    assert relevant_config(STAGES["train"], changed)["train"]["spike_nats"] == 2.0
    assert "spike_nats" not in relevant_config(STAGES["train"], config)["train"]
    older = without_idle(plain_config(config))
    assert deciding_changes(older, plain_config(changed), STAGES["train"]) == ["train.spike_nats: 0.0 -> 2.0"]
    assert deciding_changes(older, plain_config(config), STAGES["train"]) == []


def test_the_architecture_is_built_again_from_what_a_model_carries() -> None:
    config = ModelConfig(num_layers=3, model_dim=32)
    assert build_config({"model": plain_model(config)}).model == config
