"""Every preset of stages.yaml goes through the chain, at a very small size."""

import pytest
from small_chain import ROOT

from golfpipe.config.resolve import load_stages, resolve_config
from golfpipe.model.config import multiplied_weights, parameter_count

PRESETS = [name for name in load_stages(ROOT / "stages.yaml").presets if name != "pr951"]

PARAMETERS = {  # the table of PR 951's series: 512 wide, 8/4 heads, bigram 20480 x 128
    "12l": 31_911_522,
    "12l-xsa4": 30_862_946,
    "13l-xsa4": 36_632_170,
    "14l-xsa6": 39_059_570,
    "16l": 41_947_778,
    "16l-fit": 41_947_778,
    "12l-fit": 29_355_618,
    "11l-xsa": 29_189_209,
}


@pytest.mark.parametrize("preset", PRESETS)
def test_preset_trains_quantizes_packs_adapts_and_scores(chain, fresh, preset):
    settings = ["train.max_steps=2", "train.precision=fp32", "evaluate.max_targets=500", "data.source=demo"]
    settings += ["quantize.calibration_tokens=512"]

    def run(stage, out, model=None, **inputs):
        roles = inputs | ({"model": model} if model else {})
        return chain.run(stage, fresh(out), *settings, preset=preset, **roles)

    trained = run("train", "train", data=chain.data)
    quantized = run("quantize", "quantize", trained, data=chain.data)
    packed = run("pack", "pack", quantized)
    adapted = run("ttt", "ttt", packed, data=chain.data)
    if adapted.manifest.kind == "adapted_model":
        adapted = run("evaluate", "evaluate-ttt", adapted, data=chain.data)
    plain = run("evaluate", "evaluate", packed, data=chain.data)
    assert 0 < adapted.manifest.metrics["val_bpb"] < 10
    assert plain.manifest.metrics["scored_targets"] == 500
    assert plain.manifest.metrics["eligible"]


@pytest.mark.parametrize(("preset", "parameters"), PARAMETERS.items())
def test_sizes_of_the_series(preset, parameters):
    config = resolve_config(load_stages(ROOT / "stages.yaml"), preset=preset).config
    assert parameter_count(config.model) == parameters
    assert not config.model.mask_document_boundaries and not config.train.ema_bias_correction


def test_8k_loops_has_the_size_of_the_record_but_for_its_gates():
    config = resolve_config(load_stages(ROOT / "stages.yaml"), preset="8k-loops").config
    skip_gates, smear_gate = 8 * 512, 512
    assert parameter_count(config.model) == 35_944_536 - skip_gates + smear_gate
    assert multiplied_weights(config.model) == pytest.approx(53.2e6, rel=1e-3)
    assert multiplied_weights(config.model, looping=False) == pytest.approx(35.9e6, rel=1e-3)
    assert config.data.vocab_size == config.model.vocab_size == 8192


def test_pr951_is_the_pull_requests_quantizer():
    quantize = resolve_config(load_stages(ROOT / "stages.yaml"), preset="pr951").config.quantize
    assert quantize.clip_ratios == (0.80, 0.85, 0.90, 0.93, 0.95, 0.97, 0.98, 0.99, 1.00)
    assert (quantize.mlp.bits, quantize.attention.bits, quantize.ngram.bits, quantize.token_table.bits) == (4, 6, 6, 16)
    assert quantize.prune_fraction == 0.03 and quantize.rules[0].max_values == 8192
