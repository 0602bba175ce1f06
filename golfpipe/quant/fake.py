"""Quantization-aware training: the quantizer of the export, as a transform of weights between two optimizer steps.

The training loop keeps latent weights. Before the forward pass it copies apply(name, latent) into each parameter of
`names`; the gradient found there goes straight through to the latent. Every few hundred steps refresh() searches the
clip ratios anew; in between a row keeps its ratio, and its scale follows the row's current maximum. Classes with a
step (ClassScheme.step) have one step per tensor, which is frozen between refreshes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import torch
from torch import Tensor

from golfpipe.codec.log_steps import step_values
from golfpipe.errors import ArtifactError
from golfpipe.quant.clip_search import choose_scales
from golfpipe.quant.config import QuantPolicy
from golfpipe.quant.policy import assign_classes, assign_schemes
from golfpipe.quant.rows import as_rows, fake_quantize, row_absmax, row_scale
from golfpipe.quant.steps import fake_quantize_steps, tensor_log_step

# Shapes: R rows, C values per row

_NO_STEP = 32767.0  # beyond every storable exponent, and finite: checkpoints refuse NaN


class FakeQuantizer:
    """Holds one clip ratio per row, or one log step, of every tensor whose class has codes. Ratios start at 1.

    A tensor with a step that has never been refreshed takes its first step from the first weights other than zeros that
    apply() sees.
    """

    def __init__(
        self, policy: QuantPolicy, shapes: Mapping[str, tuple[int, ...]], universe: Iterable[str] | None = None
    ) -> None:
        """shapes: all parameters; universe: see assign_classes, which also says when ConfigError is raised."""
        schemes = assign_schemes(policy, assign_classes(policy, shapes, universe))
        self._schemes = {name: scheme for name, scheme in schemes.items() if not scheme.is_float}
        self._clip_ratios = policy.clip_ratios
        # Clip ratios fp32 [R, 1], or the log step fp32 [1, 1] (a whole number; _NO_STEP until it is known).
        self._state = {
            name: torch.full((1, 1), _NO_STEP) if scheme.step else torch.ones(_num_rows(shapes[name]), 1)
            for name, scheme in self._schemes.items()
        }
        self._step: dict[str, float] = {}  # the number that the log step stands for, kept on the host

    @property
    def names(self) -> tuple[str, ...]:
        """Tensors that are fake-quantized, in the order of `shapes`."""
        return tuple(self._schemes)

    @torch.no_grad()
    def refresh(self, weights: Mapping[str, Tensor]) -> None:
        """Search every row's ratio and every tensor's step on the latent weights; other tensors are ignored.

        Raises StageFailed for weights that are not finite, which names a diverged run.
        """
        for name, scheme in self._schemes.items():
            w_RC = as_rows(weights[name])
            if scheme.step:
                self._find_step(name, w_RC)
                continue
            choice = choose_scales(w_RC, scheme.bits, self._clip_ratios, name=name)
            ratios_K = torch.tensor(self._clip_ratios, dtype=torch.float32, device=w_RC.device)
            self._state[name] = ratios_K[choice.ratio_index_R][:, None]

    @torch.no_grad()
    def apply(self, name: str, weight: Tensor) -> Tensor:
        """Fake-quantized copy of the latent weight, of its shape and dtype. Right after refresh() it equals the export.

        Never waits for the GPU once all steps are known, and then raises nothing: a row with a NaN or infinite weight
        becomes NaN, and the loss tells. (Of a tensor with a step the weight alone becomes NaN, or stays infinite.)
        StageFailed for such a weight where a step is still to be found.
        """
        w_RC, scheme = as_rows(weight), self._schemes[name]
        if scheme.step:
            if name not in self._step:
                self._find_step(name, w_RC)
            return fake_quantize_steps(w_RC, self._step.get(name, 1.0)).reshape(weight.shape).to(weight.dtype)
        ratio_R1 = self._state[name]
        if ratio_R1.device != weight.device:
            ratio_R1 = self._state[name] = ratio_R1.to(weight.device)
        scale_R1 = row_scale(row_absmax(w_RC), ratio_R1, scheme.bits)
        return fake_quantize(w_RC, scale_R1, scheme.bits).reshape(weight.shape).to(weight.dtype)

    def _find_step(self, name: str, w_RC: Tensor) -> None:
        """Zeros, with which many matrices start, have none: it is found as soon as there is anything to go by."""
        if w_RC.any():
            self._set_log_step(name, tensor_log_step(w_RC, self._schemes[name].step, name=name))

    def _set_log_step(self, name: str, log_step: int) -> None:
        self._state[name] = torch.full((1, 1), float(log_step))
        self._step[name] = float(step_values(np.array(log_step)))

    def state(self) -> dict[str, Tensor]:
        """Ratios fp32 [R, 1] and log steps fp32 [1, 1] by tensor name: with the latent weights, all that a resumed run
        needs to be identical. Before there are weights other than zeros a log step is 32767, which stands for none."""
        return dict(self._state)

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Inverse of state(). Raises ArtifactError for other names or shapes."""
        for name in [*self._state, *state]:
            found, expected = state.get(name), self._state.get(name)
            if found is None or expected is None or found.shape != expected.shape or found.dtype != torch.float32:
                raise ArtifactError(f"clip ratios of the checkpoint do not fit train.qat: tensor {name}")
        self._state = {name: state[name].clone() for name in self._state}
        self._step.clear()
        for name, scheme in self._schemes.items():
            if scheme.step and (log_step := float(state[name])) != _NO_STEP:
                self._set_log_step(name, round(log_step))


def _num_rows(shape: tuple[int, ...]) -> int:
    return shape[0] if len(shape) > 1 else 1
