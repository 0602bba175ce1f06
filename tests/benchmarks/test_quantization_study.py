"""The programs of the quantization study run at toy size, and measure what they say."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from benchmarks.models import gaussian_weights
from benchmarks.quantization import gaussian, least_gain, rate_penalty, sixteen
from benchmarks.quantization.reference import reference_path
from benchmarks.settings import preset
from golfpipe.quant import trellis_piece


@pytest.mark.parametrize("states", [1, 8])
def test_gaussian_weights_against_the_bound(states: int) -> None:
    found = gaussian.measure(torch.randn(256, 256, generator=torch.Generator().manual_seed(1)), states, 2.0)
    assert found["bits"] == pytest.approx(2.0, abs=0.02)
    assert (0.2 < found["above_bound"] < 0.3) if states == 1 else (0.05 < found["above_bound"] < 0.12)


def test_the_reference_path_stores_what_it_gives_back() -> None:
    model = preset("tiny").model
    weights = gaussian_weights(model)
    size, restored = reference_path(weights, model)
    assert set(restored) == set(weights)
    assert 500_000 < size < 800_000
    name = "blocks.0.mlp.input.weight"
    error = (restored[name] - weights[name]).square().mean() / weights[name].square().mean()
    assert 0.005 < float(error) < 0.04


def test_a_case_of_the_limit(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(sixteen, "WORK", tmp_path)
    case = "gaussian: equal steps"
    monkeypatch.setitem(sixteen.CASES, case, (*sixteen.EQUAL_STEPS, "quantize.target_bytes=300000"))
    row = sixteen.run_case(case, "none", "none", "tiny")
    assert row["fits"] and row["solved_bytes"] == row["packed_bytes"]
    assert 299_700 <= row["packed_bytes"] <= 300_000


def test_the_least_gain_is_in_force_while_a_cell_is_measured(monkeypatch) -> None:
    before = trellis_piece._LEAST_GAIN
    monkeypatch.setattr(
        least_gain, "run_setting", lambda *given: SimpleNamespace(val_bpb=2.0 + trellis_piece._LEAST_GAIN)
    )
    assert least_gain.gap(0.5, 2, None, None, None, 2.0) == 0.5  # type: ignore[arg-type]
    assert before == trellis_piece._LEAST_GAIN


def test_the_price_on_bits_is_read_from_the_model(tmp_path, monkeypatch) -> None:
    asked = []

    def cell(setting, preset_name, model, data, work, base) -> SimpleNamespace:
        asked.append((setting.overrides[-1], work))
        return SimpleNamespace(packed_bytes=len(asked), val_bpb=2.0)

    monkeypatch.setattr(rate_penalty, "run_setting", cell)
    monkeypatch.setattr(rate_penalty, "score_trained", lambda *given: 1.5)
    config = {"seed": 3, "train": {"rate_penalty": 0.03}}
    model: Any = SimpleNamespace(manifest=SimpleNamespace(config=config))
    found = rate_penalty.row(model, None, tmp_path)  # type: ignore[arg-type]
    assert (found["seed"], found["rate_penalty"], found["val_bpb_trained"]) == (3, 0.03, 1.5)
    assert list(found["packed"]) == ["3 b", "2.5 b", "2 b", "1.5 b"]
    assert found["packed"]["1.5 b"] == {"packed_bytes": 4, "val_bpb": 2.0}
    assert asked[-1] == ("quantize.target_bits=1.5", tmp_path / "seed3-0.03")
