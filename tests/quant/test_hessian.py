"""The feedback factor: exact identity of costs, damping that grows, order, refusal of NaN; GPTQ against plain loops."""

import pytest
import torch

from golfpipe.errors import StageFailed
from golfpipe.quant.code_search import CodeSearch, search_scalar_codes
from golfpipe.quant.hessian import feedback_factor


def moments(width: int, rank: int | None = None, seed: int = 0) -> torch.Tensor:
    x = torch.randn(rank or 3 * width, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return x.T @ x / len(x)


@pytest.mark.parametrize("by_diagonal", [False, True])
def test_the_cost_of_any_errors_is_the_sum_of_the_columns_costs(by_diagonal):
    hessian = moments(12)
    factor = feedback_factor(hessian, 0.0, by_diagonal=by_diagonal)
    ordered = hessian[factor.order_C][:, factor.order_C]
    # What a column's error is after all that earlier ones passed on to it: e_j = d_j + sum_(i < j) e_i correction_ij.
    d_C = torch.randn(12, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    # Corrected target minus point. With w' = w - sum_i e_i correction_i the total change is dw = point - w.
    e_C = torch.zeros(12, dtype=torch.float64)
    for j in range(12):
        e_C[j] = -d_C[j] - (e_C[:j] * factor.correction_CC[:j, j].double()).sum()
    assert float(d_C @ ordered @ d_C) == pytest.approx(float((factor.weight_C * e_C.square()).sum()), rel=1e-5)


def test_order_is_by_falling_diagonal():
    factor = feedback_factor(torch.diag(torch.tensor([1.0, 3.0, 2.0, 3.0])), 0.0, by_diagonal=True)
    assert factor.order_C.tolist() == [1, 3, 2, 0]
    assert factor.weight_C.tolist() == pytest.approx([3, 3, 2, 1])


def test_damping_grows_until_the_matrix_is_positive_definite():
    singular = moments(10, rank=4)
    factor = feedback_factor(singular, 0.0, by_diagonal=True)
    assert 0 < factor.damping < 1e-3
    indefinite = singular - 0.05 * torch.eye(10)
    assert feedback_factor(indefinite, 0.01, by_diagonal=True).damping > 0.01
    assert torch.isfinite(feedback_factor(torch.zeros(3, 3), 0.01, by_diagonal=True).correction_CC).all()


def test_nan_moments_name_the_tensor():
    with pytest.raises(StageFailed, match=r"blocks\.2: the inputs' second moments are NaN"):
        feedback_factor(torch.full((2, 2), torch.nan), 0.01, by_diagonal=True, name="blocks.2")


def test_hopeless_moments_are_refused():
    with pytest.raises(StageFailed, match="not positive definite even with damping"):
        feedback_factor(-torch.eye(4), 0.01, by_diagonal=True)


def test_every_code_is_the_nearest_to_what_earlier_errors_left():
    width, w_RC = 150, torch.randn(7, 150, generator=torch.Generator().manual_seed(2))
    factor = feedback_factor(moments(width), 0.01, by_diagonal=True)
    steps = {"step_R": torch.ones(7), "step_C": torch.full((width,), 0.5)}
    found_CR = search_scalar_codes(CodeSearch(w_RC=w_RC, **steps, factor=factor, rate=None)).T[factor.order_C]
    left = w_RC.T[factor.order_C].double()
    for j in range(width):
        code = found_CR[j].double()
        left[j + 1 :] -= factor.correction_CC[j, j + 1 :, None].double() * (left[j] - 0.5 * code)
        assert ((left[j] / 0.5 - code).abs() < 0.5 + 1e-3).all()
