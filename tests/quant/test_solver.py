"""Targets: met from below with the exact size, by allocation; out of reach is said with what is reachable."""

import numpy as np
import pytest
import torch

from golfpipe.codec.container import encode_payload
from golfpipe.errors import ConfigError, StageFailed
from golfpipe.model.config import ModelConfig, parameter_shapes
from golfpipe.quant.calibration_data import CalibrationData
from golfpipe.quant.config import ClassScheme, QuantizeConfig
from golfpipe.quant.export import QuantizedWeights, quantize_weights
from golfpipe.quant.quantizer import Target
from golfpipe.quant.sensitivity import measured_sensitivity

MODEL = ModelConfig(vocab_size=128, num_layers=2, model_dim=64, num_heads=4, num_kv_heads=2, bigram_buckets=300,
                    bigram_dim=16, trigram_buckets=0)  # fmt: skip
SHAPES = parameter_shapes(MODEL)
UNIVERSE = parameter_shapes(ModelConfig(tied_embeddings=False))


def random_weights() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {name: torch.randn(shape, generator=generator) * 0.1 for name, shape in SHAPES.items()}


def payload_bytes(pieces) -> int:
    return len(encode_payload({}, pieces.values(), coder="range"))


def random_calibration() -> CalibrationData:
    generator = torch.Generator().manual_seed(1)
    fisher, moments = {}, {}
    for name, shape in SHAPES.items():
        rows, width = (shape[0], shape[1]) if len(shape) > 1 else (1, int(np.prod(shape)))
        fisher[name] = torch.rand(rows, width, generator=generator) * 1e-3
        if name.startswith(("blocks", "kv")) and len(shape) > 1 and "mix" not in name:
            x = torch.randn(400, width, generator=generator)
            moments[name] = x.T @ x / 400
    return CalibrationData(fisher, moments)


@pytest.mark.parametrize("method", ["gptq_lite", "rate", "trellis"])
@pytest.mark.parametrize("calibrated", [False, True])
def test_the_target_is_met_within_a_thousandth_from_below(method, calibrated):
    config = QuantizeConfig(method=method, target_bytes=40_000)
    result = quantize_weights(
        random_weights(), config, universe=UNIVERSE,
        calibration=random_calibration() if calibrated else None, target=Target(40_000, payload_bytes),
    )  # fmt: skip
    assert 40_000 * 0.999 <= payload_bytes(result.pieces) <= 40_000
    assert result.solution is not None and result.solution.size == payload_bytes(result.pieces)
    assert list(result.pieces) == list(SHAPES)


def solve(target: float, **settings) -> QuantizedWeights:
    config = QuantizeConfig(method="rate", target_bytes=target, **settings)
    return quantize_weights(random_weights(), config, universe=UNIVERSE, target=Target(target, payload_bytes))


def test_a_tighter_target_costs_every_class():
    errors = [sum(r.relative_squared_error for r in solve(size).reports.values()) for size in (30_000, 50_000)]
    assert errors[0] > 2 * errors[1]


@pytest.mark.parametrize("method", ["gptq", "rate", "trellis"])
def test_the_same_calibration_gives_the_same_bytes_on_any_number_of_threads(method):
    size = {} if method == "gptq" else {"target_bytes": 40_000}
    config = QuantizeConfig(method=method, calibration="train", **size)
    threads, found = torch.get_num_threads(), []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            result = quantize_weights(
                random_weights(), config, universe=UNIVERSE, calibration=random_calibration(),
                target=Target(40_000, payload_bytes) if size else None,
            )  # fmt: skip
            assert torch.get_num_threads() == count
            found.append(encode_payload({}, result.pieces.values(), coder="range"))
    finally:
        torch.set_num_threads(threads)
    assert found[0] == found[1]


def test_a_class_with_a_step_or_32_bits_keeps_out_of_the_allocation():
    result = solve(100_000, token_table=ClassScheme(bits=16, step=0.02), attention=ClassScheme(bits=32))
    assert result.reports["token_embedding.weight"].entropy_bits == pytest.approx(7.7, abs=0.2)
    assert result.pieces["kv_projections.0.key.weight"].bits == 32


def test_an_unreachable_target_names_the_smallest_size():
    with pytest.raises(StageFailed, match=r"cannot be reached: with every code at zero \d+ bytes remain"):
        solve(500)


def test_more_bytes_than_the_weights_need_is_not_an_error():
    result = solve(10e6)
    assert result.solution is not None and not result.solution.reached
    assert sum(r.relative_squared_error for r in result.reports.values()) < 1e-3


def test_gptq_on_the_grid_lowers_the_cost_of_errors():
    data, weights = random_calibration(), random_weights()
    name, costs = "blocks.0.mlp.output.weight", []
    x = torch.randn(400, 224, generator=torch.Generator().manual_seed(2)) @ torch.randn(224, 224).mul(0.2).add(
        torch.eye(224)
    )
    data.moments[name] = x.T @ x / 400
    for method, calibration in (("gptq_lite", "none"), ("gptq", "train")):
        config = QuantizeConfig(method=method, calibration=calibration)
        piece = quantize_weights(weights, config, universe=UNIVERSE, calibration=data).pieces[name]
        error = weights[name] - torch.from_numpy(piece.codes).float() * torch.from_numpy(piece.scales).float()
        costs.append(float(((error @ data.moments[name]) * error).sum()))
        assert piece.bits == 4
    assert costs[1] < 0.7 * costs[0]


def test_sensitivity_recovers_a_product_of_rows_and_columns():
    rows, columns = torch.logspace(0, 1, 60), torch.logspace(0, 2, 200)
    data = CalibrationData({"t": rows[:, None] * columns}, {})
    found = measured_sensitivity("t", data, 0.01, by_diagonal=True)
    ratio = found.row_R[:, None] * found.column_C / (rows[:, None] * columns).numpy()
    assert ratio.min() > 0.2 and ratio.max() < 5


def test_contradictory_settings_are_named():
    with pytest.raises(ConfigError, match="needs the inputs' second moments"):
        QuantizeConfig(method="gptq")
    with pytest.raises(ConfigError, match="which gptq does not have"):
        QuantizeConfig(method="gptq", calibration="train", target_bytes="limit")
    with pytest.raises(ConfigError, match="exclude each other"):
        QuantizeConfig(target_bytes="limit", target_bits=3.0)
    with pytest.raises(ConfigError, match="must be positive"):
        QuantizeConfig(target_bytes=-5.0)
