"""Muon: momentum whose update is orthogonalized (Jordan et al. 2024, github.com/KellerJordan/Muon).

It is meant for hidden matrices only: never for embeddings, output heads, gains or gates.
"""

# Shapes: N matrices of one shape, R rows, C columns

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from golfpipe.optim.process_group import ALONE, ProcessGroup

POLAR_STEPS = ((8.176, -22.8, 15.94), (3.988, -2.799, 0.4963), (3.607, -2.549, 0.4706), (2.729, -1.934, 0.4089))
"""Coefficients (a, b, c) of the quintics a s + b s^3 + c s^5 that are applied to the singular values s one after the
other. Each is the best approximation of 1 on the range that the ones before it leave, starting from [0.0022, 1] and
with 3 % of room for rounding (Polar Express, arXiv 2505.16932). These four do as much as five applications of one fixed
quintic: values from 0.0022 up come within 0.35 of 1."""
NORM_FLOOR = 1e-7
WIDE = 1.5
"""Above so many columns per row, two steps cost less together: R^2 (2 C + 5 R), not R^2 (4 C + 2 R)."""
CPU_BATCH_VALUES = 1 << 21
"""Values per batch on a CPU, so few that its cache holds them. Other devices take a whole shape at once."""


def orthogonalize(g_NRC: Tensor) -> Tensor:
    """Return matrices [N, R, C] with the given singular vectors and singular values near 1, in the same dtype."""
    tall = g_NRC.shape[-2] > g_NRC.shape[-1]
    x = g_NRC.mT.contiguous() if tall else g_NRC
    # Two steps share a pass over a wide x: with the polynomial p of x x^T, (p x)(p x)^T = p x x^T p, which are small
    # products in place of a large one. More than two would not do: each multiplies the rounding error of x x^T by a^2.
    together = 2 if x.shape[-1] > WIDE * x.shape[-2] else 1
    for first in range(0, len(POLAR_STEPS), together):
        gram = x @ x.mT
        if first == 0:
            # The polynomials need singular values s of at most 1. The largest is at most (sum of s^4)^(1/4), which is
            # tighter than the Frobenius norm and costs nothing, since x x^T is there already.
            bound = gram.norm(dim=(-2, -1), keepdim=True).sqrt() + NORM_FLOOR
            gram = gram / bound.square()
        factor = _polynomial(gram, *POLAR_STEPS[first])
        if together == 2:
            gram = factor @ gram @ factor
            factor = _polynomial(gram, *POLAR_STEPS[first + 1]) @ factor
        x = (factor / bound if first == 0 else factor) @ x
    return x.mT if tall else x


def normalize_rows(g_NRC: Tensor) -> Tensor:
    """Return matrices [N, R, C] whose rows have the 2-norm 1 (MuonEq-R, arXiv 2603.28254), zeros staying zeros."""
    norm_NR1 = torch.linalg.vector_norm(
        g_NRC, dim=-1, keepdim=True, dtype=torch.promote_types(g_NRC.dtype, torch.float32)
    )
    rows_NRC: Tensor = g_NRC / norm_NR1.clamp_min(NORM_FLOOR)
    return rows_NRC.to(g_NRC.dtype)


def orthogonalize_normalized(g_NRC: Tensor) -> Tensor:
    """Return `orthogonalize` of the matrices with rows of norm 1."""
    return orthogonalize(normalize_rows(g_NRC))


def _polynomial(gram_NRR: Tensor, a: float, b: float, c: float) -> Tensor:
    """Return a I + b G + c G^2."""
    sum_NRR = torch.baddbmm(gram_NRR, gram_NRR, gram_NRR, beta=b, alpha=c)
    sum_NRR.diagonal(dim1=-2, dim2=-1).add_(a)
    return sum_NRR


def aspect_scale(rows: int, columns: int) -> float:
    """Return sqrt(max(1, rows / columns)), which makes the size of an update's effect independent of the matrix's
    shape."""
    return math.pow(max(1.0, rows / columns), 0.5)


def nesterov_momentum(grads: list[Tensor], momenta: list[Tensor], beta: float, dtype: torch.dtype) -> Tensor:
    """Return the Nesterov momentum [N, R, C] of N matrices. Updates `momenta` in place and overwrites `grads`."""
    torch._foreach_lerp_(momenta, grads, 1 - beta)
    torch._foreach_lerp_(grads, momenta, beta)
    stacked_NRC = grads[0].new_empty((len(grads), *grads[0].shape), dtype=dtype)
    torch._foreach_copy_(list(stacked_NRC.unbind()), grads)
    return stacked_NRC


class Muon(torch.optim.Optimizer):
    """The optimizer Muon, which orthogonalizes matrices of equal shape together and overwrites their gradients.

    Weight decay is decoupled; the lr in it is not multiplied by `aspect_scale`. `processes` share the
    orthogonalization; the gradients must be the same on all of them.
    """

    def __init__(
        self,
        parameters: Iterable[Tensor],
        lr: float,
        momentum: float,
        weight_decay: float,
        dtype: torch.dtype,
        row_normalize: bool = False,
        processes: ProcessGroup = ALONE,
    ) -> None:
        """Create the optimizer. `dtype` is that of the products of the orthogonalization."""
        super().__init__(list(parameters), {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})
        self.dtype, self.processes = dtype, processes
        self.orthogonalize = orthogonalize_normalized if row_normalize else orthogonalize

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # torch's own would call one
        assert closure is None
        for group in self.param_groups:
            dealt = 0
            for batch in _batches(group["params"]):
                grads: list[Any] = [parameter.grad for parameter in batch]  # none is None by now
                momenta = [self._momentum(parameter) for parameter in batch]
                nesterov_NRC = nesterov_momentum(grads, momenta, group["momentum"], self.dtype)
                update_NRC = self.processes.map_rows(self.orthogonalize, nesterov_NRC, dealt).to(batch[0].dtype)
                dealt += len(batch)
                torch._foreach_mul_(batch, 1 - group["lr"] * group["weight_decay"])
                torch._foreach_add_(
                    batch, list(update_NRC.unbind()), alpha=-group["lr"] * aspect_scale(*batch[0].shape)
                )

    def _momentum(self, parameter: Tensor) -> Tensor:
        state = self.state[parameter]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(parameter)
        momentum: Tensor = state["momentum"]
        return momentum


def _batches(parameters: list[Tensor]) -> list[list[Tensor]]:
    """Group the parameters into batches of one shape, in the order in which the shapes first appear."""
    groups: dict[torch.Size, list[Tensor]] = {}
    for parameter in parameters:
        groups.setdefault(parameter.shape, []).append(parameter)
    return [
        group[first : first + most]
        for group in groups.values()
        for most in [max(1, CPU_BATCH_VALUES // group[0].numel()) if group[0].is_cpu else len(group)]
        for first in range(0, len(group), most)
    ]
