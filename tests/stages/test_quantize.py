"""Quantize with targets and calibration: exact sizes, what is recorded, what is refused."""

import numpy as np
import pytest
import torch
from recording_reporter import RecordingReporter

from golfpipe.errors import ConfigError, DataError, StageFailed
from golfpipe.jobs.job import Context
from golfpipe.loading.pieces import model_config
from golfpipe.loading.weights import load_weights
from golfpipe.model.config import ModelConfig
from golfpipe.model.network import build_network
from golfpipe.stages.calibration import calibrate_model

CALIBRATED = ("quantize.calibration=train", "quantize.calibration_tokens=2048")


@pytest.mark.parametrize("method", ["rate", "trellis"])
def test_pack_gives_exactly_what_the_solver_said(chain, fresh, method):
    target = 0.7 * chain.packed.manifest.metrics["packed_bytes"]
    overrides = (*CALIBRATED, f"quantize.method={method}", f"quantize.target_bytes={target}")
    quantized = chain.run("quantize", fresh("quantize"), *overrides, model=chain.trained, data=chain.data)
    packed = chain.run("pack", fresh("pack"), inherit=quantized, model=quantized)
    size = packed.manifest.metrics["packed_bytes"]
    assert size == quantized.manifest.metrics["solved_bytes"]
    assert 0.999 * target <= size <= target
    assert set(quantized.manifest.metrics["bits_by_class"]) == {"attention", "mlp", "ngram", "small", "token_table"}
    assert quantized.manifest.metrics["calibration_seconds"] > 0
    left, right = load_weights(quantized), load_weights(packed)
    assert all(torch.equal(left[name], right[name]) for name in left)


def test_limit_leaves_the_code_reserve_and_a_margin(chain, fresh):
    settings = ("quantize.target_bytes=limit", "pack.limit_bytes=60000", "pack.code_bytes_reserve=20000")
    quantized = chain.run("quantize", fresh("quantize"), *settings, model=chain.trained)
    packed = chain.run("pack", fresh("pack"), inherit=quantized, model=quantized)
    assert packed.manifest.metrics["fits"]
    assert 37_900 <= packed.manifest.metrics["packed_bytes"] <= 38_000
    assert "calibration_seconds" not in quantized.manifest.metrics


def test_bits_per_weight_as_the_target(chain, fresh):
    overrides = ("quantize.method=rate", "quantize.target_bits=3.0")
    quantized = chain.run("quantize", fresh("quantize"), *overrides, model=chain.trained)
    packed = chain.run("pack", fresh("pack"), inherit=quantized, model=quantized)
    sizes = [s for s in packed.read_json("sizes.json")["tensors"] if s["class"] in ("mlp", "attention", "ngram")]
    bits = 8 * sum(s["bytes"] for s in sizes) / sum(s["values"] for s in sizes)
    assert 2.997 <= bits <= 3.0


def test_a_target_below_the_header_says_what_is_reachable(chain, fresh):
    with pytest.raises(StageFailed, match=r"with every code at zero \d+ bytes remain"):
        chain.run("quantize", fresh("quantize"), "quantize.target_bytes=700", model=chain.trained)


def test_calibration_on_train_needs_data_with_train_tokens(chain, fresh):
    with pytest.raises(ConfigError, match="needs token data"):
        chain.run("quantize", fresh("a"), *CALIBRATED, model=chain.trained)
    only_val = chain.data.folder.with_name("only-val")
    if not only_val.exists():
        import shutil

        from golfpipe.store.artifact_writer import begin, finish
        from golfpipe.store.manifest import Result

        writer = begin(only_val)
        for source in chain.data.folder.iterdir():
            if source.name != "manifest.json" and "train_" not in source.name:
                shutil.copyfile(source, writer.folder / source.name)
        finish(
            writer, only_val, Result(kind="token_data", metrics=dict(chain.data.manifest.metrics)), stage="data-add",
            key="x", config={}, inputs=(), provenance={},
        )  # fmt: skip
    from golfpipe.store.artifact import open_artifact

    with pytest.raises(DataError, match="has no train tokens"):
        chain.run("quantize", fresh("b"), *CALIBRATED, model=chain.trained, data=open_artifact(only_val))


def warnings_of(chain, out, *overrides, **inputs):
    reporter = RecordingReporter()
    settings = ("quantize.calibration_tokens=2048", *overrides)
    context = Context(reporter=reporter)
    made = chain.run("quantize", out, *settings, inherit=chain.trained, model=chain.trained, context=context, **inputs)
    return made, reporter.warnings


@pytest.mark.parametrize(("calibration", "hints"), [("none", 1), ("train", 3)])
def test_a_ruinous_target_is_a_warning_and_its_hint_leads_to_a_bearable_one(chain, fresh, calibration, hints):
    inputs = {"data": chain.data} if calibration == "train" else {}
    target, errors = 5000, []
    for number in range(hints + 1):
        settings = (f"quantize.target_bytes={target}", f"quantize.calibration={calibration}")
        made, warnings = warnings_of(chain, fresh(str(number)), *settings, **inputs)
        errors.append(made.manifest.metrics["relative_mse"])
        told = [text for text in warnings if "ruins a model" in text]
        assert len(told) == (errors[-1] > (0.1 if calibration == "none" else 0.3))
        if not told:
            break
        before, target = target, int(told[0].rpartition("quantize.target_bytes=")[2].rstrip(")"))
        assert target > before
    assert len(errors) > 1 and errors == sorted(errors, reverse=True)
    assert not told and target < 15_000, "not far more bytes than it takes"


def test_under_a_target_the_data_at_hand_calibrates(chain, fresh):
    target = "quantize.target_bytes=12000"
    default, warnings = warnings_of(chain, fresh("default"), target, data=chain.data)
    assert not [text for text in warnings if "without calibration" in text]
    asked, _ = warnings_of(chain, fresh("asked"), target, "quantize.calibration=train", data=chain.data)
    assert (default.manifest.key, default.manifest.digest) == (asked.manifest.key, asked.manifest.digest)
    assert default.manifest.config["quantize"]["calibration"] == "train"
    assert default.manifest.input("data").digest == chain.data.manifest.digest
    without, warnings = warnings_of(chain, fresh("without"), target)
    assert len([text for text in warnings if "without calibration" in text]) == 1
    assert without.manifest.key != default.manifest.key and without.manifest.input("data") is None


def test_generated_tokens_calibrate_too(chain, fresh):
    overrides = ("quantize.calibration=generated", "quantize.calibration_tokens=256", "quantize.method=gptq")
    quantized = chain.run("quantize", fresh("quantize"), *overrides, model=chain.trained)
    assert quantized.manifest.metrics["calibration_seconds"] > 0


def test_moments_are_those_of_the_inputs_shared_maps_summed(chain, fresh):
    job = chain.job("quantize", fresh("x"), *CALIBRATED, model=chain.trained, data=chain.data)
    weights, config = load_weights(chain.trained), model_config(chain.trained)
    data = calibrate_model(job, weights, torch.device("cpu"))
    assert data is not None
    assert set(data.fisher) == set(weights)
    traces = {name: float(moments.diagonal().mean()) for name, moments in data.moments.items()}
    # The input of every block is RMS-normed: mean square 1, once for each layer that uses the map.
    users = config.kv_source.count(0)
    assert traces["kv_projections.0.key.weight"] == pytest.approx(users, rel=0.01)
    assert traces["blocks.0.mlp.input.weight"] == pytest.approx(1.0, rel=0.01)
    maps = {name for name, shape in data.moments.items() if shape.ndim == 2}
    network = build_network(ModelConfig(**{f: getattr(config, f) for f in config.__slots__}))
    expected = {f"{n}.weight" for n, m in network.named_modules() if type(m).__name__ == "CastLinear"}
    assert maps == expected
    assert all(np.isfinite(fisher.numpy()).all() and float(fisher.min()) >= 0 for fisher in data.fisher.values())
