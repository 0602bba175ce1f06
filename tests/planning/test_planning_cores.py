"""Sizes, speeds and the law of the loss: against brute force, real packed models and measured runs."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_chain import ROOT
from stage_chain import Chain

from golfpipe.config.resolve import load_stages, packaged_stages_file, resolve_config
from golfpipe.errors import StageFailed
from golfpipe.model.config import ModelConfig
from golfpipe.planning.laws import MEASURED_DEVIATION, Law, coding_loss, features, first_law, read_text
from golfpipe.planning.sizes import bits_at, bytes_at, coded_weights, uncoded_bytes
from golfpipe.planning.speeds import fitted_times, stated_times
from golfpipe.store.artifact import open_artifact

TINY = resolve_config(load_stages(packaged_stages_file()), preset="tiny").config.model
RESULTS = ROOT / "benchmarks" / "results"


def test_bytes_and_bits_are_inverse() -> None:
    for model in (TINY, ModelConfig(), replace(TINY, bigram_buckets=0, num_layers=9)):
        for bits in (1.6, 2.5, 5.0):
            assert bits_at(model, bytes_at(model, bits)) == pytest.approx(bits, abs=1e-4)


def test_what_is_beside_the_codes_is_what_a_packed_model_has_with_every_code_at_zero(
    chain: Chain, tmp_path: Path
) -> None:
    """The solver names that size where a target is too small."""
    with pytest.raises(StageFailed, match="every code at zero") as refused:
        chain.run(
            "quantize", str(tmp_path / "q"), "quantize.method=trellis", "quantize.target_bytes=100",
            "quantize.calibration=none", inherit=chain.trained, model=chain.trained,
        )  # fmt: skip
    real = float(refused.value.message.split("at zero ")[1].split()[0])
    model = ModelConfig(**(chain.trained.manifest.model or {}))
    assert 0.85 * real < uncoded_bytes(model) < 1.3 * real


def test_a_packed_model_has_the_bytes_of_its_bits(chain: Chain, tmp_path: Path) -> None:
    model = ModelConfig(**(chain.trained.manifest.model or {}))
    target = bytes_at(model, 3.0)
    quantized = chain.run(
        "quantize", str(tmp_path / "q"), "quantize.method=trellis", f"quantize.target_bytes={target}",
        "quantize.calibration=none", inherit=chain.trained, model=chain.trained,
    )  # fmt: skip
    assert quantized.manifest.metrics["solved_bytes"] == pytest.approx(target, rel=0.002)
    tensors = json.loads((quantized.path / "report.json").read_text())["tensors"]
    coded = sum(line["entropy_bytes"] for line in tensors if line["values"] >= 256)
    assert 8 * coded / coded_weights(model) == pytest.approx(3.0, rel=0.1)
    assert open_artifact(quantized.path).manifest.metrics["target_reached"]


def test_step_times_are_found_again_and_the_error_is_the_largest_one() -> None:
    operations = np.array([1e9, 2e9, 5e9, 2e10])
    exact = fitted_times(operations, 0.02 + operations / 1e11)
    assert (exact.fixed, exact.per_operation) == pytest.approx((0.02, 1e-11), rel=1e-6) and exact.error < 1e-9
    off = fitted_times(operations, (0.02 + operations / 1e11) * [1.0, 1.1, 0.9, 1.0])
    found = [
        off.seconds(n) / t - 1 for n, t in zip(operations, (0.02 + operations / 1e11) * [1, 1.1, 0.9, 1], strict=True)
    ]
    assert off.error == pytest.approx(max(map(abs, found))) and 0.05 < off.error < 0.11
    falling = fitted_times([1e9, 2e9], [1.0, 1.5e-3])  # nonsense may come out of a busy machine
    assert falling.fixed >= 0 and falling.per_operation > 0
    assert fitted_times([1e9], [0.5]).seconds(2e9) == pytest.approx(1.0)


def test_a_stated_machine_takes_what_it_says() -> None:
    machine = load_stages(packaged_stages_file()).machines["gpu-80gb"]
    times = stated_times(machine)
    for operations in (1e6, 1e15):
        assert times.seconds(operations) == pytest.approx(machine.step_seconds(operations))


def test_measurements_change_the_law_as_bayes_says() -> None:
    """Against brute force: the posterior of three coefficients on a grid."""
    names, mean, deviation = ("level", "weights and text", "x"), (math.log(2.35), 0.16, 0.0), (0.03, 0.03, 0.01)
    law = Law(names, np.array(mean), np.diag(np.square(deviation)))
    designs = [features(TINY, bits=9, text=size, tokens=1.0) | {"x": x} for size, x in ((15e6, 1.0), (3e6, 0.0))]
    scores = [2.30, 2.61]
    found = law.measured(designs, scores)
    grids = (np.linspace(m - 6 * s, m + 6 * s, 121) for m, s in zip(mean, deviation, strict=True))
    axes = np.meshgrid(*grids, indexing="ij")
    log_p = sum(-0.5 * ((axis - m) / s) ** 2 for axis, m, s in zip(axes, mean, deviation, strict=True))
    for one, bpb in zip(designs, scores, strict=True):
        predicted = sum(axis * one[name] for axis, name in zip(axes, names, strict=True))
        log_p = log_p - 0.5 * ((math.log(bpb) - predicted) / MEASURED_DEVIATION) ** 2
    weight = np.exp(log_p - log_p.max())
    means = [float((weight * axis).sum() / weight.sum()) for axis in axes]
    assert found.mean_F == pytest.approx(means, abs=2e-4)
    assert found.estimate(designs[0])[0] == pytest.approx(2.30, rel=0.004)
    assert found.estimate(designs[0])[1] < 0.02 < law.estimate(designs[0])[1]


def test_the_law_alone_is_near_what_was_measured_on_tiny() -> None:
    """Packed in 347,000 bytes after 15 MB of text; the vocabularies were trained by hand, one seed each."""
    law = first_law()
    for vocabulary, bpb in ((1024, 2.3551), (2048, 2.3408), (4096, 2.3219), (8192, 2.3469)):
        model = replace(TINY, vocab_size=vocabulary)
        found = features(model, bits=bits_at(model, 347e3), text=15e6, tokens=6e6)
        assert law.estimate(found)[0] == pytest.approx(bpb, abs=0.02)


def test_more_text_gains_what_the_challenge_measured() -> None:
    """Its baseline, 9 layers of width 512, made 13,780 steps of 524,288 tokens in ten minutes: 1.2172 before packing,
    and after 24 times as long 1.1749."""
    model = ModelConfig(vocab_size=1024, num_layers=9, mlp_ratio=2, kv_sharing="none", bigram_buckets=0)
    law, text = first_law(), 13_780 * 524_288 * 2.436
    short, long = (features(model, bits=9, text=text * times, tokens=1.0) for times in (1, 24))
    gained = math.log(law.estimate(short)[0] / law.estimate(long)[0])
    assert 1.1749 * math.expm1(gained) == pytest.approx(0.042, abs=0.004)


def test_the_loss_of_coding_is_that_of_the_measured_trellis_codes() -> None:
    study = json.loads((RESULTS / "quantization_tiny.json").read_text())
    trained = np.mean(study["val_bpb_trained"])
    for row in study["rows"]:
        if row["setting"].startswith("trellis") and row["setting"] != "trellis 5 b":
            gap = np.mean([seed["gap"] for seed in row["seeds"]]) / trained
            bits = bits_at(TINY, float(np.mean([seed["packed_bytes"] for seed in row["seeds"]])))
            assert coding_loss(bits, 7) == pytest.approx(gap, rel=0.35), row["setting"]


def test_more_text_is_learned_less_from_when_it_is_the_same() -> None:
    assert read_text(5.0, None) == read_text(5.0, 5.0) == 5.0
    assert 9.5 < read_text(10.0, 5.0) < 10.0 and read_text(1e9, 5.0) < 5 * 16.4 + 1e-9


def test_the_difference_has_no_error_of_the_level() -> None:
    law, one = first_law(), features(TINY, bits=3, text=15e6, tokens=6e6)
    same = law.difference(one, one)
    assert same == (0.0, 0.0)
    other = features(replace(TINY, vocab_size=2048), bits=2.5, text=15e6, tokens=6e6)
    more, error = law.difference(other, one)
    assert more == pytest.approx(law.estimate(other)[0] - law.estimate(one)[0], rel=1e-9)
    assert error < 0.02 < law.estimate(one)[1]
    assert sum(law.parts(other, one).values()) == pytest.approx(more, abs=1e-3)
