"""The registry answers for every section of the settings, and for keys that older artifacts lack."""

from __future__ import annotations

import dataclasses

from golfpipe.config.schema import PipelineConfig, plain_config
from golfpipe.jobs.registry import NEUTRAL, SETTLED, STAGES, numbered_role, settled_by, without_keys


def test_every_section_is_settled_by_one_kind() -> None:
    sections = {field.name for field in dataclasses.fields(PipelineConfig)} - {"seed", "submit"}
    settled = [section for kind in SETTLED for section in SETTLED[kind]]
    assert sorted(settled) == sorted(sections)
    assert settled_by("evaluation") == tuple(settled)
    assert settled_by("packed_model") == ("data", "model", "optim", "train", "quantize", "pack")
    assert settled_by("submission") == ()


def test_neutral_keys_exist_in_the_sections_that_their_stage_reads() -> None:
    plain = plain_config(PipelineConfig())
    for stage in STAGES.values():
        for key in stage.neutral:
            section, name = key.split(".")
            assert section in stage.sections and name in plain[section] and key in NEUTRAL


def test_keys_are_left_out_where_they_are() -> None:
    config = {"pack": {"coder": "range", "limit_bytes": 1}, "seed": 3}
    assert without_keys(config, ["pack.coder", "ttt.lr", "seed.x"]) == {"pack": {"limit_bytes": 1}, "seed": 3}
    assert config["pack"] == {"coder": "range", "limit_bytes": 1}


def test_the_first_of_several_inputs_has_the_bare_role() -> None:
    assert [numbered_role("evaluation", number) for number in (1, 2, 3)] == [
        "evaluation", "evaluation-2", "evaluation-3",
    ]  # fmt: skip
