"""Tests of golfpipe/config/later.py: at its idle value a later setting is nowhere to be seen."""

from __future__ import annotations

from dataclasses import replace

import pytest

from golfpipe.config.later import IDLE_VALUES, with_idle, without_idle
from golfpipe.config.schema import PipelineConfig, build_config, plain_config, setting_value
from golfpipe.jobs.key import deciding_changes, relevant_config
from golfpipe.jobs.registry import STAGES
from golfpipe.model.config import IDLE, LastLayers, LoopedLayers, ModelConfig, plain_model


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
    assert plain_model(config).keys() == plain_config(config).keys() - IDLE.keys()
    loop = LoopedLayers(first=1, last=2, passes=3)
    used = replace(config, loop=loop, parallel_residual=LastLayers(last=1), document_attention=True, depth_scale=True)
    assert plain_model(used) == plain_config(used)
    assert build_config({"model": plain_model(used)}).model == used


def test_the_start_of_loops_decides_nothing_where_no_layer_loops() -> None:
    stage, config = STAGES["train"], PipelineConfig()
    started = replace(config, train=replace(config.train, loop_start=0.35))
    assert relevant_config(stage, started) == relevant_config(stage, config)
    assert deciding_changes(plain_config(config), plain_config(started), stage) == []
    model = replace(config.model, loop=LoopedLayers(first=1, last=2, passes=3))
    looped, later = replace(config, model=model), replace(started, model=model)
    assert relevant_config(stage, later) != relevant_config(stage, looped)
    [change] = deciding_changes(plain_config(looped), plain_config(later), stage)
    assert change == "train.loop_start: 0.0 -> 0.35"
