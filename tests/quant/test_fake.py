"""Fake quantization equals the export, freezes ratios between refreshes, and resumes bit for bit."""

import pytest
import torch

from golfpipe.errors import ArtifactError, StageFailed
from golfpipe.quant.config import ClassScheme, QuantizeConfig, Rule
from golfpipe.quant.dequantize import dequantize_weights
from golfpipe.quant.export import quantize_weights
from golfpipe.quant.fake import FakeQuantizer
from golfpipe.quant.rows import fake_quantize

SHAPES = {"a.weight": (24, 40), "b.weight": (8, 16), "gain": (5,), "table.weight": (6, 7)}
POLICY = QuantizeConfig(
    rules=(Rule(match="a.*", to="mlp"), Rule(match="[bg]*", to="attention"), Rule(match="table.*", to="token_table")),
)


def random_weights(seed: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(shape, generator=generator) for name, shape in SHAPES.items()}


def test_names_are_the_integer_classes():
    assert FakeQuantizer(POLICY, SHAPES, SHAPES).names == ("a.weight", "b.weight", "gain")


def test_right_after_a_refresh_it_equals_the_export():
    weights = random_weights(0)
    fake = FakeQuantizer(POLICY, SHAPES)
    fake.refresh(weights)
    exported = dequantize_weights(quantize_weights(weights, POLICY, universe=SHAPES).pieces)
    for name in fake.names:
        assert torch.equal(fake.apply(name, weights[name]), exported[name])


def test_before_any_refresh_the_ratio_is_one():
    w = random_weights(1)["a.weight"]
    scale_R1 = (w.abs().amax(1, keepdim=True) / 7).half()
    assert torch.equal(FakeQuantizer(POLICY, SHAPES).apply("a.weight", w), fake_quantize(w, scale_R1, 4))


def test_ratios_stay_and_scales_follow_the_row():
    weights = random_weights(2)
    fake = FakeQuantizer(POLICY, SHAPES)
    fake.refresh(weights)
    frozen = {name: ratio.clone() for name, ratio in fake.state().items()}
    doubled = fake.apply("a.weight", 2 * weights["a.weight"])
    assert torch.equal(doubled, 2 * fake.apply("a.weight", weights["a.weight"]))
    assert all(torch.equal(frozen[name], ratio) for name, ratio in fake.state().items())


def test_state_restores_bit_for_bit():
    first, second = FakeQuantizer(POLICY, SHAPES), FakeQuantizer(POLICY, SHAPES)
    first.refresh(random_weights(3))
    second.load_state(first.state())
    later = random_weights(4)
    for name in first.names:
        assert torch.equal(first.apply(name, later[name]), second.apply(name, later[name]))


def test_state_of_another_model_is_refused():
    fake = FakeQuantizer(POLICY, SHAPES)
    for bad in ({}, {**fake.state(), "b.weight": torch.ones(9, 1)}, {**fake.state(), "c": torch.ones(1, 1)}):
        with pytest.raises(ArtifactError, match=r"tensor (a\.weight|b\.weight|c)$"):
            fake.load_state(bad)


def test_dtype_is_kept_and_no_gradient_flows():
    w = torch.randn(24, 40, dtype=torch.bfloat16, requires_grad=True)
    out = FakeQuantizer(POLICY, SHAPES).apply("a.weight", w)
    assert out.dtype == torch.bfloat16 and not out.requires_grad


def test_nan_stays_visible_in_apply_and_stops_refresh():
    weights = random_weights(5)
    weights["a.weight"][3, 4] = torch.nan
    fake = FakeQuantizer(POLICY, SHAPES)
    assert fake.apply("a.weight", weights["a.weight"])[3].isnan().all()
    with pytest.raises(StageFailed, match=r"a\.weight"):
        fake.refresh(weights)


def test_float_classes_are_left_alone():
    policy = QuantizeConfig(rules=POLICY.rules, mlp=ClassScheme(bits=32), attention=ClassScheme(bits=16))
    assert FakeQuantizer(policy, SHAPES).names == ()
