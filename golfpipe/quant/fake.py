"""Quantization-aware training: the quantizer of the export, as a transform of weights between two optimizer steps.

The training loop keeps latent weights. Before the forward pass it copies apply(name, latent) into each parameter of
`names`; the gradient found there goes straight through to the latent. Every few hundred steps refresh() searches the
clip ratios anew; in between a row keeps its ratio, and its scale follows the row's current maximum.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from golfpipe.errors import ArtifactError
from golfpipe.quant.clip_search import choose_scales
from golfpipe.quant.config import QuantPolicy
from golfpipe.quant.policy import assign_bits, assign_classes, is_integer_width
from golfpipe.quant.rows import as_rows, fake_quantize, row_absmax, row_scale

# Shapes: R rows, C values per row


class FakeQuantizer:
    """Holds one clip ratio per row of every tensor whose class has integer codes. Ratios start at 1."""

    def __init__(
        self, policy: QuantPolicy, shapes: Mapping[str, tuple[int, ...]], universe: Iterable[str] | None = None
    ) -> None:
        """shapes: all parameters; universe: see assign_classes, which also says when ConfigError is raised."""
        bits = assign_bits(policy, assign_classes(policy, shapes, universe))
        self._bits = {name: width for name, width in bits.items() if is_integer_width(width)}
        self._clip_ratios = policy.clip_ratios
        self._ratio_R1 = {name: torch.ones(_num_rows(shapes[name]), 1) for name in self._bits}

    @property
    def names(self) -> tuple[str, ...]:
        """Tensors that are fake-quantized, in the order of `shapes`."""
        return tuple(self._bits)

    @torch.no_grad()
    def refresh(self, weights: Mapping[str, Tensor]) -> None:
        """Search every row's ratio on the latent weights; other tensors in the mapping are ignored.

        Raises StageFailed for weights that are not finite, which names a diverged run.
        """
        for name, bits in self._bits.items():
            w_RC = as_rows(weights[name])
            choice = choose_scales(w_RC, bits, self._clip_ratios, name=name)
            ratios_K = torch.tensor(self._clip_ratios, dtype=torch.float32, device=w_RC.device)
            self._ratio_R1[name] = ratios_K[choice.ratio_index_R][:, None]

    @torch.no_grad()
    def apply(self, name: str, weight: Tensor) -> Tensor:
        """Fake-quantized copy of the latent weight, of its shape and dtype. Right after refresh() it equals the export.

        Never waits for the GPU, so it raises nothing: a row with a NaN or infinite weight becomes NaN, and the loss tells.
        """
        ratio_R1 = self._ratio_R1[name]
        if ratio_R1.device != weight.device:
            ratio_R1 = self._ratio_R1[name] = ratio_R1.to(weight.device)
        w_RC, bits = as_rows(weight), self._bits[name]
        scale_R1 = row_scale(row_absmax(w_RC), ratio_R1, bits)
        return fake_quantize(w_RC, scale_R1, bits).reshape(weight.shape).to(weight.dtype)

    def state(self) -> dict[str, Tensor]:
        """Ratios by tensor name, fp32 [R, 1]: with the latent weights, all that a resumed run needs to be identical."""
        return dict(self._ratio_R1)

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Inverse of state(). Raises ArtifactError for other names or shapes."""
        for name in [*self._ratio_R1, *state]:
            found, expected = state.get(name), self._ratio_R1.get(name)
            if found is None or expected is None or found.shape != expected.shape or found.dtype != torch.float32:
                raise ArtifactError(f"clip ratios of the checkpoint do not fit train.qat: tensor {name}")
        self._ratio_R1 = {name: state[name].clone() for name in self._ratio_R1}


def _num_rows(shape: tuple[int, ...]) -> int:
    return shape[0] if len(shape) > 1 else 1
