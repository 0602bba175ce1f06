"""The penalty's gradient against autograd in float64, and its code length against the entropy of real codes."""

import math

import pytest
import torch

from golfpipe.quant.rate_penalty import add_rate_gradient
from golfpipe.quant.steps import quantize_steps, step_values, tensor_log_step


def bits(w: torch.Tensor, step_deviations: float) -> torch.Tensor:
    """Of a weight, by the formula."""
    return torch.log2(2 * math.e * w.abs().mean() / (step_deviations * w.square().mean().sqrt()))


def random_weights() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = ((6, 10), (3, 5, 7), (2, 2))
    return [(torch.randn(s, generator=generator, dtype=torch.float64) * (i + 1)) for i, s in enumerate(shapes)]


def test_it_is_the_gradient_of_the_mean_code_length():
    weights = [w.requires_grad_() for w in random_weights()]
    loss = sum(w.square().sum() for w in weights)
    total = sum(w.numel() for w in weights)
    rate = sum(bits(w, 0.5) * w.numel() for w in weights) / total
    expected = torch.autograd.grad(loss + 0.03 * rate, weights)
    (sum(w.square().sum() for w in weights)).backward()
    add_rate_gradient(weights, 0.03)
    for w, gradient in zip(weights, expected, strict=True):
        torch.testing.assert_close(w.grad, gradient, rtol=1e-12, atol=1e-14)


def test_it_leaves_the_scale_of_a_tensor_alone():
    (w, *_) = random_weights()
    w.grad = torch.zeros_like(w)
    add_rate_gradient([w], 1.0)
    assert float((w.grad * w).sum()) == pytest.approx(0, abs=1e-12)


def test_zeros_stay_zeros():
    w = torch.zeros(3, 4)
    w.grad = torch.ones_like(w)
    add_rate_gradient([w], 1.0)
    assert torch.equal(w.grad, torch.ones_like(w))


def test_the_code_length_is_that_of_laplace_weights_in_small_steps():
    generator = torch.Generator().manual_seed(0)
    u = torch.rand(1000, 1000, generator=generator) - 0.5
    w_RC = -u.sign() * torch.log1p(-2 * u.abs())
    step = float(step_values(torch.tensor(tensor_log_step(w_RC, 0.1)).numpy()))
    _, counts = quantize_steps(w_RC, step).unique(return_counts=True)
    shares = counts / w_RC.numel()
    assert -float((shares * shares.log2()).sum()) == pytest.approx(float(bits(w_RC, 0.1)), abs=0.01)
