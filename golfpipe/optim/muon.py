"""Muon: momentum whose update is orthogonalized (Jordan et al. 2024, github.com/KellerJordan/Muon).

For hidden matrices only: never for embeddings, output heads, gains or gates.
"""

# Shapes: N matrices of one shape, R rows, C columns

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from golfpipe.optim.process_group import ALONE, ProcessGroup

NS_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Quintic iteration with the steepest slope at 0 that keeps singular values near 1."""
NS_EPS = 1e-7


def newton_schulz(g_NRC: Tensor, steps: int) -> Tensor:
    """Replace the singular values of each matrix by values near 1. Any leading dimensions are a batch.

    Products run in the dtype of the input; the spectral norm is bounded first by the Frobenius norm.
    """
    a, b, c = NS_COEFFICIENTS
    tall = g_NRC.shape[-2] > g_NRC.shape[-1]
    x = g_NRC.mT if tall else g_NRC
    x = (x / (x.norm(dim=(-2, -1), keepdim=True) + NS_EPS)).reshape(-1, *x.shape[-2:])
    for _ in range(steps):
        gram = x @ x.mT
        polynomial = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        x = torch.baddbmm(x, polynomial, x, beta=a)
    return (x.mT if tall else x).reshape(g_NRC.shape)


def aspect_scale(rows: int, columns: int) -> float:
    """sqrt(max(1, rows / columns)): keeps the size of the outputs' change independent of the aspect."""
    return max(1.0, rows / columns) ** 0.5


class Muon(torch.optim.Optimizer):
    """One batched orthogonalization per matrix shape. Weight decay is decoupled and uses the unscaled lr.

    `processes` share the orthogonalization; the gradients must be the same on all of them.
    """

    def __init__(
        self,
        parameters: Iterable[Tensor],
        lr: float,
        momentum: float,
        weight_decay: float,
        ns_steps: int,
        ns_dtype: torch.dtype,
        processes: ProcessGroup = ALONE,
    ) -> None:
        super().__init__(list(parameters), {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})
        self.ns_steps, self.ns_dtype, self.processes = ns_steps, ns_dtype, processes

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        assert closure is None
        for group in self.param_groups:
            dealt = 0
            for same_shape in _by_shape(group["params"]):
                grads_NRC = torch.stack([parameter.grad for parameter in same_shape])  # type: ignore[misc]  # has one
                buffers = [self._momentum(parameter) for parameter in same_shape]
                momentum_NRC = torch.stack(buffers)
                momentum_NRC.lerp_(grads_NRC, 1 - group["momentum"])
                torch._foreach_copy_(buffers, list(momentum_NRC.unbind()))
                nesterov_NRC = grads_NRC.lerp(momentum_NRC, group["momentum"]).to(self.ns_dtype)
                update_NRC = self.processes.map_rows(self._orthogonalize, nesterov_NRC, dealt).to(grads_NRC.dtype)
                update_NRC *= aspect_scale(*update_NRC.shape[1:])
                dealt += len(same_shape)
                torch._foreach_mul_(same_shape, 1 - group["lr"] * group["weight_decay"])
                torch._foreach_add_(same_shape, list(update_NRC.unbind()), alpha=-group["lr"])

    def _orthogonalize(self, nesterov_NRC: Tensor) -> Tensor:
        return newton_schulz(nesterov_NRC, self.ns_steps)

    def _momentum(self, parameter: Tensor) -> Tensor:
        state = self.state[parameter]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(parameter)
        return state["momentum"]


def _by_shape(parameters: list[Tensor]) -> list[list[Tensor]]:
    """Parameters with a gradient, grouped by shape in order of first appearance."""
    groups: dict[torch.Size, list[Tensor]] = {}
    for parameter in parameters:
        if parameter.grad is not None:
            groups.setdefault(parameter.shape, []).append(parameter)
    return list(groups.values())
