"""Measure what errors of weights cost: second moments of the inputs of linear maps, and the Fisher diagonal."""

from __future__ import annotations

from types import TracebackType
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from golfpipe.errors import ArtifactError, UsageError
from golfpipe.quant.calibration_data import CalibrationData, add_fisher, mean_fisher

# Shapes: N tokens, V vocabulary, C inputs of a linear map

CALIBRATION_SEED = 0
"""The seed of the drawn targets and texts, fixed so that the same checkpoint is always calibrated alike."""
MAX_INPUTS = 8_192
"""The most inputs of a linear map whose second moments are kept: 268 MB of memory, and minutes to factor."""
_DRAWN_AT_ONCE = 4_096


class Calibrator:
    """Watches a model inside a `with` block: every nn.Linear adds x x^T of its inputs x, pass by pass, under the name
    of its weight; a weight that several modules share, or that a loop uses again, counts all of them.

    A table that is also an output head (tied weights) has no moments: its errors meet the model at both ends, and the
    Fisher diagonal sees both. Memory is that of one fp32 copy of the parameters and of C x C numbers per linear map,
    however much is observed.
    """

    def __init__(self, model: nn.Module, generator: torch.Generator | None = None) -> None:
        """generator: that of the drawn targets, on the CPU; else one with a seed that never changes."""
        self._model = model
        self._generator = generator or torch.Generator().manual_seed(CALIBRATION_SEED)
        self._fisher: dict[str, Tensor] = {}
        self._moments: dict[str, Tensor] = {}
        self._hooks: list[RemovableHandle] = []
        self.num_tokens = self.num_batches = 0
        self.vocabulary = 0
        """The last axis of the observed logits."""

    def __enter__(self) -> Self:
        names = {id(parameter): name for name, parameter in self._model.named_parameters()}
        tables = {id(module.weight) for module in self._model.modules() if isinstance(module, nn.Embedding)}
        for module in self._model.modules():
            if isinstance(module, nn.Linear) and id(module.weight) in names.keys() - tables:
                self._watch(module, names[id(module.weight)])
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()

    def _watch(self, module: nn.Linear, name: str) -> None:
        self._hooks.append(module.register_forward_pre_hook(lambda _, inputs: self.add(name, inputs[0])))

    @torch.no_grad()
    def add(self, name: str, x: Tensor) -> None:
        """Add the inputs x [.., C] of a product x @ W^T whose W [.., C] has this name and is no nn.Linear's weight."""
        if not x.is_floating_point() or x.ndim == 0:
            raise UsageError(f"calibration of {name!r}: inputs are {x.dtype} {list(x.shape)}, expected floats [.., C]")
        if x.shape[-1] > MAX_INPUTS:
            return
        x_NC = x.detach().reshape(-1, x.shape[-1]).float()
        product_CC = x_NC.T @ x_NC
        known = self._moments.get(name)
        if known is not None and known.shape != product_CC.shape:
            raise UsageError(
                f"calibration of {name!r}: inputs of {x.shape[-1]} numbers after inputs of {len(known)}",
                hint="each part of a bank has a name of its own, as in add('bank.3', x)",
            )
        self._moments[name] = known.add_(product_CC) if known is not None else product_CC

    def observe(self, logits: Tensor) -> None:
        """Add to the Fisher diagonal: draw a target for each token from the logits [.., V], and go backward.

        The gradients of the parameters (`.grad`) stay as they are. Many small batches tell more than few large ones.
        Raises UsageError for logits without a graph or that are not finite.
        """
        if not logits.requires_grad:
            raise UsageError("the logits have no graph to go backward through", hint="leave torch.no_grad() away")
        logits_NV = logits.reshape(-1, logits.shape[-1])
        drawn_N = self._draw(logits_NV.detach())
        parameters = {name: p for name, p in self._model.named_parameters() if p.requires_grad}
        loss = F.cross_entropy(logits_NV.float(), drawn_N)
        gradients = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
        found = {name: g for name, g in zip(parameters, gradients, strict=True) if g is not None}
        add_fisher(self._fisher, found, len(drawn_N))
        self.num_tokens += len(drawn_N)
        self.num_batches += 1
        self.vocabulary = logits.shape[-1]

    def _draw(self, logits_NV: Tensor) -> Tensor:
        """Return a target [N] for each token, from the generator on the CPU, in parts of bounded memory."""
        parts = []
        for part_NV in logits_NV.split(_DRAWN_AT_ONCE):
            probabilities = part_NV.float().softmax(-1).cpu()
            if not bool(torch.isfinite(probabilities).all()):
                raise UsageError("the logits are NaN or infinite")
            parts.append(torch.multinomial(probabilities, 1, generator=self._generator)[:, 0])
        return torch.cat(parts).to(logits_NV.device)

    def data(self) -> CalibrationData:
        """Return what was measured so far. Raises ArtifactError where nothing was."""
        if not self._fisher and not self._moments:
            raise ArtifactError("the calibration has seen nothing: run the model inside its `with` block")
        return CalibrationData(
            fisher=mean_fisher(self._fisher, max(self.num_batches, 1)),
            moments={name: total / max(self.num_tokens, 1) for name, total in self._moments.items()},
        )
