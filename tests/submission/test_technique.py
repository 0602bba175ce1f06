"""The summary says what the configuration holds, for every preset."""

import pytest

from golfpipe.config.resolve import load_stages, resolve_config
from golfpipe.submission.technique import one_line, technique_lines

STAGES = load_stages()
ALL = dict.fromkeys(("model", "train", "quantize", "pack", "ttt", "evaluate"))


@pytest.mark.parametrize("preset", sorted(STAGES.presets))
def test_every_preset_can_be_told(preset: str):
    lines = technique_lines(resolve_config(STAGES, preset=preset).config, ALL)
    assert len(lines) == (6 if preset == "14l-xsa6" else 7)  # score-first LoRA scores in its own chunks
    assert all(line.endswith(".") and "None" not in line for line in lines)


def test_the_words_follow_the_settings():
    config = resolve_config(STAGES, preset="12l-xsa4").config
    text = " ".join(technique_lines(config, ALL))
    assert "the last 4 layers use the K/V projections of the 4 before them" in text
    assert "squared ReLU" in text
    assert "look across document boundaries" in text
    assert one_line(config) == "12L 512d MLP x3, int4 MLP, int6 attention"


def test_switches_are_told():
    switches = [
        "model.loop={first: 3, last: 5, passes: 3}", "model.parallel_residual={last: 4}",
        "model.document_attention=true", "model.depth_scale=true", "train.loop_start=0.35",
    ]  # fmt: skip
    text = " ".join(technique_lines(resolve_config(STAGES, preset="11l-xsa", overrides=switches).config, ALL))
    for said in (
        "layers 3 to 5 (from 0) run 3 times", "attention and MLP in parallel in the last 4 layers",
        "attention inside documents", "divided by the root of the depth", "loops after 35% of training",
    ):  # fmt: skip
        assert said in text
    assert "loop" not in " ".join(technique_lines(resolve_config(STAGES, preset="11l-xsa").config, ALL))


def test_adapters_and_how_many_documents_had_them_are_told():
    switches = ["ttt.method=score_first_lora", "ttt.score_first_lora.projections=[key, head]"]
    config = resolve_config(STAGES, preset="demo", overrides=switches).config
    [line] = [line for line in technique_lines(config, ALL) if "adapters" in line]
    assert line.endswith("(1 epoch, lr 0.01, rank 8, projections key and head).")
    for counts, said in (((7,), "the 7 longest"), ((1200, 7, 9), "the 7 to 1,200 longest"), ((9, 9), "the 9 longest")):
        assert f"; {said} documents are learned from." in " ".join(technique_lines(config, ALL, counts))


def test_what_did_not_run_is_not_told():
    config = resolve_config(STAGES, preset="16l").config
    text = " ".join(technique_lines(config, {"model": None, "evaluate": None}))
    assert "No test-time training." in text
    assert "Packing" not in text


def test_exclusive_attention_and_int6_are_named():
    config = resolve_config(STAGES, preset="11l-xsa").config
    text = " ".join(technique_lines(config, ALL))
    assert "exclusive self-attention in all layers" in text
    assert "no quantization-aware training" in text
    assert "token embedding int6" in text
