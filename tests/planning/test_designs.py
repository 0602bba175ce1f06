"""Candidates, what fits of them, and which are tried."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

from golfpipe.config.resolve import load_stages, packaged_stages_file, resolve_config
from golfpipe.errors import ConfigError, UsageError
from golfpipe.model.config import LoopedLayers
from golfpipe.pipeline.estimate import step_operations
from golfpipe.planning.candidates import Varied, candidates, changed_settings, parse_vary
from golfpipe.planning.designs import (
    Design,
    Measurement,
    Task,
    bytes_per_token,
    fitting_designs,
    law_of,
    most_promising,
    ranked,
)
from golfpipe.planning.sizes import LEAST_BITS, bits_at, bytes_at
from golfpipe.planning.speeds import StepTimes

CONFIG = resolve_config(load_stages(packaged_stages_file()), preset="tiny").config
TIMES = StepTimes(fixed=0.01, per_operation=1e-11, error=0.1, basis="made up")


def _task(**more: Any) -> Task:
    values: dict[str, Any] = {"size": 150e3, "seconds": 60.0, "times": TIMES, "bytes_per_token": {}, "text_bytes": None}
    return Task(**(values | more))


def _designs(*vary: str, **more: Any) -> list[Design]:
    return fitting_designs(candidates(parse_vary(vary, CONFIG, has_text=True), CONFIG), _task(**more))


@pytest.mark.parametrize("width", range(32, 321, 32))
def test_every_multiple_of_the_head_is_a_width(width: int) -> None:
    [found] = candidates(parse_vary([f"width={width}"], CONFIG, has_text=True), CONFIG)
    assert (found.config.model.model_dim, found.config.model.head_dim) == (width, 32)


def test_short_names_stand_for_settings_around_the_preset() -> None:
    axes = parse_vary(["vocab=1024,4096", "layers,width", "model.leaky_slope=0,0.5"], CONFIG, has_text=True)
    assert axes[0] == ([{"data.vocab_size": 1024}, {"data.vocab_size": 4096}], True) and not axes[1].given
    assert [value["model.num_layers"] for value in axes[1].values] == [2, 3, 4, 6, 8]
    assert axes[2].values[-1] == {"model.model_dim": 256, "model.num_heads": 8, "model.num_kv_heads": 4}
    found = candidates(axes, CONFIG)
    assert len(found) == 2 * 5 * 5 * 2
    assert found[0].config.model == CONFIG.model  # the preset's own design comes first
    assert all(one.config.model.vocab_size == one.settings["data.vocab_size"] for one in found)
    assert changed_settings(found[1].settings)[0].startswith("model.leaky_slope=")


def test_values_are_those_of_yaml_and_each_makes_a_design() -> None:
    loops = ["model.loop=none,{first: 0, last: 1, passes: 3}", "optim.embed_weight_decay=null,0.1"]
    found = candidates(parse_vary(loops, CONFIG, has_text=False), CONFIG)
    assert [one.settings["optim.embed_weight_decay"] for one in found] == [None, 0.1, None, 0.1]
    assert [one.config.model.loop for one in found[1:3]] == ["none", LoopedLayers(first=0, last=1, passes=3)]
    deep = ["model.loop={first: 4, last: 5, passes: 2}", "layers"]  # of 2, 3, 4, 6 and 8, which were not chosen
    assert len(candidates(parse_vary(deep, CONFIG, has_text=False), CONFIG)) == 2
    for vary, message in (
        (["vocab"], "made already"), (["data.transform=none,caps"], "made already"),
        (["depth"], "unknown"), (["layers", "layers=2"], "given twice"),
        (["layers=x"], "expected numbers"), (["width=100"], "num_heads"), (["model.num_layer=2"], "num_layer"),
        (["model.loop=null,{first: 0, last: 1, passes: 3}"], "--vary model.loop=null: "),
        (["width=100,128"], "--vary model.model_dim=100 "),
    ):  # fmt: skip
        with pytest.raises(ConfigError, match=message):
            candidates(parse_vary(vary, CONFIG, has_text=False), CONFIG)
    with pytest.raises(ConfigError, match="more than 5,000"):
        candidates([Varied([{"seed": n} for n in range(number)], False) for number in (100, 99)], CONFIG)


def test_what_fits_is_what_brute_force_finds() -> None:
    found = candidates(parse_vary(["vocab,layers,width"], CONFIG, has_text=True), CONFIG)
    task = _task(seconds=30.0)
    kept = {str(design.settings): design for design in fitting_designs(found, task)}
    for one in found:
        bits, steps = bits_at(one.config.model, 150_000), int(30 / (0.01 + step_operations(one.config) / 1e11))
        assert (str(one.settings) in kept) == (bits >= LEAST_BITS and steps >= 1)
        if str(one.settings) in kept:
            design = kept[str(one.settings)]
            assert design.size <= 150_000 and design.steps == steps
            assert design.bits == pytest.approx(min(bits, 5.0), abs=1e-3)


def test_wanted_bits_make_smaller_files() -> None:
    for design in _designs("bits=2,3", "layers=2", size=400e3):
        assert design.size == bytes_at(design.model, round(design.bits))


def test_where_none_fits_the_smallest_is_named() -> None:
    with pytest.raises(UsageError, match="none of 35 designs fits in 1,000 B") as refused:
        _designs("vocab", "layers", size=1000)
    least = int(str(refused.value.hint).split("--bytes ")[1].split(",")[0])
    assert len(_designs("vocab", "layers", size=least)) == 1
    with pytest.raises(UsageError):
        _designs("vocab", "layers", size=least - 1)


def test_where_no_design_makes_a_step_the_quickest_is_named() -> None:
    slow = StepTimes(fixed=90.0, per_operation=1e-11, error=0.1, basis="made up")
    with pytest.raises(UsageError, match="makes a step in 1 min 0 s") as refused:
        _designs("layers", times=slow)
    assert "the quickest step takes 1 min 30 s" in str(refused.value.hint)
    assert all(design.steps == 1 for design in _designs("layers", times=slow, seconds=92))


def test_bytes_of_a_token_are_counted_or_follow_the_vocabulary() -> None:
    counted = {(1024, "caps"): 2.6, (512, "none"): 2.0, (1024, "none"): 2.5}
    assert bytes_per_token(8192, "none", {}) == pytest.approx(3.727, rel=1e-3)
    assert bytes_per_token(512, "none", counted) == 2.0
    assert 2.5 < bytes_per_token(2048, "none", counted) < 3.0
    assert bytes_per_token(1024, "caps", counted) == 2.6 and bytes_per_token(1024, "caps_before_space", counted) == 2.5
    designs = _designs("data.transform=none,caps", "vocab=1024", size=400e3, bytes_per_token=counted)
    assert [design.text() / design.steps / design.batch_tokens for design in designs] == pytest.approx([2.5, 2.6])


def test_the_ranking_is_by_estimate_and_follows_measurements() -> None:
    designs = _designs("vocab=1024", "layers", "model.leaky_slope=0,0.5", size=300e3)
    before = ranked(designs, law_of(designs, []))
    assert [one.bpb for one in before] == sorted(one.bpb for one in before)
    assert before[0].behind == before[0].behind_error == 0 and all(one.behind >= 0 for one in before)
    last = before[-1].design
    law = law_of(
        designs, [Measurement(design=last, share=1.0, bpb=1.0), Measurement(design=designs[0], share=1.0, bpb=3.0)]
    )
    after = ranked(designs, law)
    assert after[0].design.model.num_layers == last.model.num_layers and after[0].error < before[0].error


def test_the_tried_designs_are_those_that_win_most_often() -> None:
    designs = _designs("vocab,layers,width", size=150e3)
    law = law_of(designs, [])
    chosen = most_promising(designs, law, 5)
    assert chosen == most_promising(designs, law, 5)
    x_NF = np.stack([law.vector(design.features()) for design in designs])
    root_FF = np.linalg.cholesky(law.covariance_FF)
    draws = np.random.default_rng(7)
    laws = (law.mean_F + root_FF @ draws.standard_normal(len(law.mean_F)) for _ in range(3000))
    wins = Counter(int(np.argmin(x_NF @ drawn)) for drawn in laws)
    often = {designs.index(design) for design in chosen[:3]}
    assert often <= {index for index, _ in wins.most_common(6)}
    assert len(most_promising(designs[:3], law, 9)) == 3
