import math

import pytest
import torch

from golfpipe.model.config import ModelConfig
from golfpipe.model.layers import MLP, NORM_EPS, remove_own_value, rms_norm, rotary_tables, rotate_partial


def test_norm_and_its_gradient_equal_the_formula_in_float64():
    x = torch.randn(5, 7, 16, generator=torch.Generator().manual_seed(0)) * 3e-4  # where eps matters
    weights = torch.randn(5, 7, 16, generator=torch.Generator().manual_seed(1))
    x.requires_grad_()
    exact = x.double().requires_grad_()
    formula = exact / (exact.square().mean(-1, keepdim=True) + NORM_EPS).sqrt()
    (expected,) = torch.autograd.grad((formula * weights).sum(), exact)
    (found,) = torch.autograd.grad((rms_norm(x) * weights).sum(), x)
    torch.testing.assert_close(rms_norm(x).double(), formula, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-2)
    assert rms_norm(x.bfloat16()).dtype == torch.bfloat16


@pytest.mark.parametrize("fraction", [0.25, 1.0])
def test_rotation_turns_pairs_by_position_times_theta(fraction):
    config = ModelConfig(rope_fraction=fraction)
    tables = rotary_tables(config, 6, torch.device("cpu"))
    x = torch.randn(1, 1, 6, 64, generator=torch.Generator().manual_seed(0))
    turned = rotate_partial(x, tables)[0, 0, 5]
    half = config.rope_dim // 2
    for i in (0, half - 1):
        angle = 5 * 10000.0 ** (-2 * i / config.rope_dim)
        a, b = x[0, 0, 5, i].item(), x[0, 0, 5, i + half].item()
        assert turned[i].item() == pytest.approx(a * math.cos(angle) + b * math.sin(angle), abs=1e-5)
        assert turned[i + half].item() == pytest.approx(-a * math.sin(angle) + b * math.cos(angle), abs=1e-5)
    assert torch.equal(turned[config.rope_dim :], x[0, 0, 5, config.rope_dim :])


def test_exclusive_attention_leaves_nothing_along_the_own_value():
    generator = torch.Generator().manual_seed(0)
    y, v = torch.randn(2, 4, 5, 8, generator=generator), torch.randn(2, 2, 5, 8, generator=generator)
    left = remove_own_value(y, v)
    along = (left * v.repeat_interleave(2, dim=1)).sum(-1)
    assert along.abs().max() < 1e-5


@pytest.mark.parametrize("slope", [0.0, 0.3, 0.5])
def test_mlp_and_its_gradient_equal_the_formula_in_float64(slope):
    mlp = MLP(ModelConfig(model_dim=16, num_heads=2, num_kv_heads=1, mlp_ratio=2.0, leaky_slope=slope))
    x = torch.randn(7, 16, generator=torch.Generator().manual_seed(0), requires_grad=True)
    w_in, w_out = mlp.input.weight.double(), mlp.output.weight.double()
    h = x.double() @ w_in.T
    expected = torch.where(h > 0, h, slope * h).square() @ w_out.T
    torch.testing.assert_close(mlp(x).double(), expected, rtol=1e-5, atol=1e-6)
    ours = torch.autograd.grad(mlp(x).square().sum(), (x, mlp.input.weight))
    exact = torch.autograd.grad(expected.square().sum(), (x, mlp.input.weight))
    for found, wanted in zip(ours, exact, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)
