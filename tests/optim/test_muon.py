import numpy as np
import pytest
import torch

from golfpipe.optim.muon import POLAR_STEPS, Muon, aspect_scale, normalize_rows, orthogonalize

SHAPES = [(64, 64), (224, 64), (64, 224)]


def best_quintic(low, high):
    """Coefficients of the odd quintic nearest to 1 on [low, high], by exchange (Remez)."""
    points = np.array([low, (3 * low + high) / 4, (low + 3 * high) / 4, high])
    for _ in range(50):
        rows = np.stack([points, points**3, points**5, np.array([1, -1, 1, -1])], axis=1)
        a, b, c, _ = np.linalg.solve(rows, np.ones(4))
        root = np.sqrt(9 * b * b - 20 * a * c)
        points[1:3] = np.sqrt([(-3 * b - root) / (10 * c), (-3 * b + root) / (10 * c)])
    return a, b, c


def polynomials(s, steps=POLAR_STEPS):
    for a, b, c in steps:
        s = a * s + b * s**3 + c * s**5
    return s


def with_spectrum(shape, s, seed=0):
    generator = torch.Generator().manual_seed(seed)
    rank = min(shape)
    u, v = (torch.linalg.qr(torch.randn(n, rank, generator=generator, dtype=torch.float64))[0] for n in shape)
    return (u * torch.as_tensor(s)) @ v.T


def five_plain_steps(s):
    """What five steps of the fixed quintic of Jordan et al. make of singular values, in float64."""
    return polynomials(s / np.linalg.norm(s), [(3.4445, -4.7750, 2.0315)] * 5)


def test_coefficients_are_the_best_ones_for_the_range_that_each_step_leaves():
    low, high = 0.0022, 1.03
    for found in POLAR_STEPS:
        best = best_quintic(low, high)
        assert found == pytest.approx(best, rel=3e-4)
        low = polynomials(low, [best])
        high = (2 - low) * 1.03
    s = polynomials(np.geomspace(0.0022, 1, 10_000))
    assert s.min() > 0.65 and s.max() < 1.35


@pytest.mark.parametrize("shape", SHAPES)
def test_iteration_equals_the_polynomials_of_the_singular_values(shape):
    g = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    u, s, vt = torch.linalg.svd(g, full_matrices=False)
    expected = u @ torch.diag(polynomials(s / (s**4).sum() ** 0.25)) @ vt
    torch.testing.assert_close(orthogonalize(g[None])[0], expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", SHAPES)
def test_spectra_come_as_near_to_one_as_with_five_plain_steps(shape, dtype):
    """Over condition numbers from 1 to 10,000 and a gradient's typical spectrum, few large values over many small."""
    errors = []
    spectra = [np.geomspace(1, 1 / condition, 64) for condition in (1, 10, 100, 1e3, 1e4)]
    spectra.append(np.concatenate(([1, 0.4, 0.2], np.geomspace(0.1, 0.001, 61))))
    for s in spectra:
        result = orthogonalize(with_spectrum(shape, 1e-4 * s).to(dtype)[None])[0]
        found = torch.linalg.svdvals(result.double()).numpy()
        assert found.max() < 1.45
        errors.append([np.sqrt(np.mean((values - 1) ** 2)) for values in (found, five_plain_steps(s))])
    ours, plain = np.array(errors).T
    assert (ours < plain + 0.12).all() and ours.mean() < plain.mean()


def test_batched_matrices_equal_single_ones_and_zeros_stay_zero():
    g = torch.randn(5, 24, 8, generator=torch.Generator().manual_seed(0))
    g[2] = 0
    single = torch.cat([orthogonalize(matrix[None]) for matrix in g])
    torch.testing.assert_close(orthogonalize(g), single, rtol=1e-4, atol=1e-5)
    assert single[2].eq(0).all()


def test_steps_are_decayed_and_follow_the_orthogonalized_nesterov_momentum():
    generator = torch.Generator().manual_seed(0)
    weights = [torch.randn(shape, generator=generator).requires_grad_() for shape in [(32, 16), (16, 32), (32, 16)]]
    expected = [weight.detach().clone() for weight in weights]
    momenta = [torch.zeros_like(weight) for weight in expected]
    muon = Muon(weights, lr=0.02, momentum=0.95, weight_decay=0.04, dtype=torch.float32)
    for _ in range(4):
        for i, weight in enumerate(weights):
            weight.grad = torch.randn(weight.shape, generator=generator)
            momenta[i] = 0.95 * momenta[i] + 0.05 * weight.grad
            nesterov = 0.05 * weight.grad + 0.95 * momenta[i]
            update = orthogonalize(nesterov[None])[0] * max(1, weight.shape[0] / weight.shape[1]) ** 0.5
            expected[i] = expected[i] * (1 - 0.02 * 0.04) - 0.02 * update
        muon.step()
    for weight, other in zip(weights, expected, strict=True):
        torch.testing.assert_close(weight.detach(), other, rtol=1e-4, atol=1e-5)


def test_updates_are_near_those_of_torch():
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(32, 64, generator=generator)
    ours, theirs = start.clone().requires_grad_(), start.clone().requires_grad_()
    muon = Muon([ours], lr=0.02, momentum=0.95, weight_decay=0.04, dtype=torch.bfloat16)
    reference = torch.optim.Muon([theirs], lr=0.02, momentum=0.95, weight_decay=0.04, adjust_lr_fn="original")
    for _ in range(4):
        ours.grad = torch.randn(start.shape, generator=generator)
        theirs.grad = ours.grad.clone()
        muon.step()
        reference.step()
    mine, other = (ours - start).flatten(), (theirs - start).flatten()
    assert torch.cosine_similarity(mine, other, dim=0) > 0.95  # both near the polar factor, by other polynomials


def test_rows_of_the_update_get_one_norm_before_it_is_orthogonalized():
    """Three steps in float64, by singular values, beside one whose rows keep their norms; a row of zeros stays one."""
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(24, 12, generator=generator, dtype=torch.float64)
    ours, plain = start.clone().requires_grad_(), start.clone().requires_grad_()
    expected, momentum = start.clone(), torch.zeros_like(start)
    muons = [
        Muon([w], lr=0.02, momentum=0.9, weight_decay=0.1, dtype=torch.float64, row_normalize=on)
        for w, on in ((ours, True), (plain, False))
    ]
    for _ in range(3):
        gradient = torch.randn(start.shape, generator=generator, dtype=torch.float64)
        gradient *= torch.logspace(-3, 2, 24)[:, None]
        gradient[5] = 0
        ours.grad, plain.grad = gradient.clone(), gradient.clone()
        momentum = 0.9 * momentum + 0.1 * gradient
        update = 0.1 * gradient + 0.9 * momentum
        rows = torch.stack([row / max(1e-7, float(row.square().sum().sqrt())) for row in update])
        u, s, vt = torch.linalg.svd(rows, full_matrices=False)
        polar = u @ torch.diag(torch.as_tensor(polynomials(s / (s**4).sum() ** 0.25))) @ vt
        expected = expected * (1 - 0.02 * 0.1) - 0.02 * 2**0.5 * polar
        for muon in muons:
            muon.step()
    torch.testing.assert_close(ours.detach(), expected, rtol=0, atol=1e-6)
    torch.testing.assert_close(ours[5].detach(), start[5] * (1 - 0.02 * 0.1) ** 3)
    assert (plain - ours).abs().max() > 0.01
    assert normalize_rows(torch.full((1, 2, 4), 3.0, dtype=torch.bfloat16)).float().eq(0.5).all()


def test_aspect_scale_grows_with_tall_matrices_only():
    assert aspect_scale(64, 16) == 2.0
    assert aspect_scale(16, 64) == 1.0
    matrix = torch.zeros(16, 4)
    matrix.grad = torch.eye(16, 4)
    Muon([matrix], lr=1, momentum=0.9, weight_decay=0, dtype=torch.float32).step()
    assert matrix.norm(dim=0).mean().item() == pytest.approx(2, rel=0.35)
