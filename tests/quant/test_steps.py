"""The step quantizer: log steps, the rule, and that fake quantization is the export bit for bit."""

import numpy as np
import pytest
import torch

from golfpipe.codec.log_steps import step_values
from golfpipe.errors import ConfigError, StageFailed
from golfpipe.quant.config import ClassScheme, QuantizeConfig, Rule, step_of_bits
from golfpipe.quant.dequantize import dequantize_weights
from golfpipe.quant.export import quantize_weights
from golfpipe.quant.fake import FakeQuantizer
from golfpipe.quant.steps import nearest_log_steps, quantize_steps, tensor_log_step

SHAPES = {"a.weight": (24, 40), "v": (7,)}
POLICY = QuantizeConfig(
    rules=(Rule(match="a.*", to="mlp"), Rule(to="attention")),
    mlp=ClassScheme(bits=4, step=0.5),
    attention=ClassScheme(bits=16, step=0.1),
)


def random_weights(seed: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(shape, generator=generator) * 0.02 for name, shape in SHAPES.items()}


def test_log_steps_are_powers_of_two_and_the_nearest():
    assert step_values(np.array([0, 256, -512, 128])).tolist() == [1.0, 2.0, 0.25, np.float32(2**0.5)]
    exponents = np.arange(-3000, 3000, 7)
    np.testing.assert_array_equal(nearest_log_steps(step_values(exponents)), exponents)


def test_the_rule_is_root_mean_squares():
    w_RC = torch.full((3, 4), -0.5)
    assert tensor_log_step(w_RC, 0.5) == -512
    assert tensor_log_step(torch.zeros(3, 4), 0.5) == 0
    with pytest.raises(StageFailed, match=r"x: weights are NaN"):
        tensor_log_step(torch.full((3, 4), torch.inf), 0.5, name="x")


@pytest.mark.parametrize(("bits", "over"), [(1.0, 0.2), (2.0, 0.06), (3.0, 0.02), (5.0, 0.0)])
def test_gaussian_codes_have_the_entropy_that_was_asked_for(bits: float, over: float):
    w_RC = torch.randn(1000, 1000, generator=torch.Generator().manual_seed(0))
    _, counts = quantize_steps(w_RC, step_of_bits(bits)).unique(return_counts=True)
    shares = counts / w_RC.numel()
    assert -float((shares * shares.log2()).sum()) == pytest.approx(bits + over, abs=0.006)


def test_an_outlier_widens_the_step_until_its_code_fits():
    w_RC = torch.zeros(1000, 1000)
    w_RC[0, 0] = 100.0
    assert abs(100.0 / float(step_values(np.array(tensor_log_step(w_RC, 0.01))))) <= 32_100


def test_right_after_a_refresh_it_equals_the_export_bit_for_bit():
    weights = random_weights(0)
    fake = FakeQuantizer(POLICY, SHAPES)
    fake.refresh(weights)
    result = quantize_weights(weights, POLICY, universe=SHAPES)
    exported = dequantize_weights(result.pieces)
    for name in fake.names:
        assert result.pieces[name].bits == 0
        assert torch.equal(fake.apply(name, weights[name]), exported[name])


def test_a_tensor_that_starts_at_zero_gets_its_step_with_its_first_weights():
    fake, name = FakeQuantizer(POLICY, SHAPES), "a.weight"
    zeros, weights = torch.zeros(SHAPES[name]), random_weights(0)[name]
    fake.refresh({name: zeros, "v": torch.zeros(7)})
    assert torch.equal(fake.apply(name, zeros), zeros)
    fake.load_state(fake.state())
    found = fake.apply(name, weights)
    assert float((found - weights).norm() / weights.norm()) < 0.2
    twice = fake.apply(name, 2 * weights)
    assert len(twice.unique()) > len(found.unique())  # the step stayed


def test_steps_stay_frozen_between_refreshes_and_survive_a_checkpoint():
    fake = FakeQuantizer(POLICY, SHAPES)
    fake.load_state(fake.state())  # before any step is known
    first = fake.apply("a.weight", random_weights(1)["a.weight"])
    assert first.unique().diff().min() > 0
    later = 3 * random_weights(2)["a.weight"]
    resumed = FakeQuantizer(POLICY, SHAPES)
    resumed.load_state(fake.state())
    assert torch.equal(fake.apply("a.weight", later), resumed.apply("a.weight", later))
    step = float(step_values(np.array(int(fake.state()["a.weight"]))))
    assert torch.equal(fake.apply("a.weight", later), (later / step).round() * step)


def test_a_negative_step_is_a_config_error():
    with pytest.raises(ConfigError, match="step=-1"):
        ClassScheme(bits=4, step=-1.0)
