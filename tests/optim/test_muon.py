import pytest
import torch

from golfpipe.optim.muon import NS_COEFFICIENTS, Muon, aspect_scale, newton_schulz


@pytest.mark.parametrize("shape", [(32, 32), (48, 16), (16, 48)])
def test_orthogonalization_equals_the_iteration_in_float64_and_flattens_the_spectrum(shape):
    g = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    a, b, c = NS_COEFFICIENTS
    x = g / g.norm()
    for _ in range(5):
        # The same polynomial on the singular values: s -> a s + b s^3 + c s^5.
        u, s, vt = torch.linalg.svd(x, full_matrices=False)
        x = u @ torch.diag(a * s + b * s**3 + c * s**5) @ vt
    torch.testing.assert_close(newton_schulz(g, 5), x, rtol=0, atol=1e-6)
    spectrum = torch.linalg.svdvals(newton_schulz(g.float(), 5))
    assert spectrum.min() > 0.6 and spectrum.max() < 1.3


def test_batched_matrices_equal_single_ones():
    g = torch.randn(5, 24, 8, generator=torch.Generator().manual_seed(0))
    single = torch.stack([newton_schulz(matrix, 5) for matrix in g])
    torch.testing.assert_close(newton_schulz(g, 5), single, rtol=1e-4, atol=1e-5)


def test_steps_equal_those_of_torch():
    generator = torch.Generator().manual_seed(0)
    shapes = [(32, 16), (16, 32), (16, 16), (32, 16)]
    start = [torch.randn(shape, generator=generator) for shape in shapes]
    ours = [tensor.clone().requires_grad_() for tensor in start]
    theirs = [tensor.clone().requires_grad_() for tensor in start]
    muon = Muon(ours, lr=0.02, momentum=0.95, weight_decay=0.04, ns_steps=5, ns_dtype=torch.bfloat16)
    reference = torch.optim.Muon(theirs, lr=0.02, momentum=0.95, weight_decay=0.04, ns_steps=5, adjust_lr_fn="original")
    for _ in range(4):
        for mine, other in zip(ours, theirs, strict=True):
            mine.grad = torch.randn(mine.shape, generator=generator)
            other.grad = mine.grad.clone()
        muon.step()
        reference.step()
    for mine, other, first in zip(ours, theirs, start, strict=True):
        moved = (other - first).norm()
        assert (
            mine - other
        ).norm() < 0.05 * moved  # both iterate in bf16, torch one matrix at a time and rounding in another order


def test_aspect_scale_grows_with_tall_matrices_only():
    assert aspect_scale(64, 16) == 2.0
    assert aspect_scale(16, 64) == 1.0
