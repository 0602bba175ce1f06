"""The parts of a block: norm, linear map, rotary positions, attention, MLP (docs/model.md).

Weights are fp32 and are cast to the activations' dtype where they are used, so that one network serves fp32 and bf16.
"""

# Shapes: B batch, T time, D model width, H query heads, K kv heads, E head width, F MLP hidden width,
# R half of the rotary width, S the positions at the end whose outputs are wanted

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from golfpipe.model.config import ModelConfig

NORM_EPS = 1.1920929e-07
"""Added to the mean square. It is not negligible: the token table starts with a standard deviation of 0.005."""

LayerDelta = Callable[[str, Tensor, Tensor], Tensor]
"""(projection, normed input [B, T, D], output [B, T, O]) -> the output with what an adapter adds to it, if there is
one. Projections are `query`, `key` and `value`; `output` is the whole attention, `mlp` the whole MLP."""
ProjectionDelta = Callable[[int, str, Tensor, Tensor], Tensor]
"""The same with the place in the layer order before it: each pass through a looped layer has a delta of its own."""


def widened(x: Tensor) -> Tensor:
    """Return x in fp32, or in float64 where it is that already."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


class _RmsNorm(torch.autograd.Function):
    """x / sqrt(mean(x^2) + eps) with its own backward pass: autograd's reads the activations twice as often."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        wide = widened(x)
        mean_square: Tensor = torch.linalg.vector_norm(wide, dim=-1, keepdim=True).square_().div_(x.shape[-1])
        inverse = mean_square.add_(NORM_EPS).rsqrt_()
        y = wide * inverse
        ctx.save_for_backward(y, inverse)
        return y.to(x.dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        y, inverse = ctx.saved_tensors
        wide = widened(grad)
        along = (wide * y).mean(-1, keepdim=True)
        return torch.addcmul(wide, y, along, value=-1).mul_(inverse).to(grad.dtype)


def rms_norm(x: Tensor) -> Tensor:
    """Return the weight-free RMS norm of x over the last dimension, computed in fp32 at least, in the dtype of x."""
    y: Tensor = _RmsNorm.apply(x)  # type: ignore[no-untyped-call]  # torch leaves it untyped
    return y


class CastLinear(nn.Linear):
    """A linear map without bias whose weight is cast to the input's dtype."""

    def __init__(self, num_inputs: int, num_outputs: int) -> None:
        super().__init__(num_inputs, num_outputs, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight.to(x.dtype))


def rotary_tables(config: ModelConfig, length: int, device: torch.device) -> Tensor:
    """Return cos and sin of position * base^(-2i / rope_dim) in fp32 [2, T, R]; R is 0 without rotation."""
    exponent_R = torch.arange(0, config.rope_dim, 2, device=device, dtype=torch.float32) / config.rope_dim
    angle_TR = torch.arange(length, device=device, dtype=torch.float32)[:, None] * config.rope_base**-exponent_R
    return torch.stack((angle_TR.cos(), angle_TR.sin()))


def rotate_partial(x_BHTE: Tensor, tables_2TR: Tensor) -> Tensor:
    """Rotate the pairs (i, i + R) of the first 2R values of each head and leave the other values as they are."""
    cos_TR, sin_TR = tables_2TR.to(x_BHTE.dtype)
    half = cos_TR.shape[-1]
    a, b, rest = x_BHTE.split([half, half, x_BHTE.shape[-1] - 2 * half], dim=-1)
    return torch.cat((a * cos_TR + b * sin_TR, b * cos_TR - a * sin_TR, rest), dim=-1)


def visible_in_document(tokens_BT: Tensor, bos_id: int, dtype: torch.dtype) -> Tensor:
    """Return what to add to the scores of attention [B, 1, T, T]: 0 where the key is not after the query and no BOS is
    after the key up to the query, minus infinity elsewhere."""
    document_BT = (tokens_BT == bos_id).cumsum(1)
    visible_BTT = (document_BT[:, :, None] == document_BT[:, None, :]).tril()
    return torch.where(visible_BTT, 0.0, -torch.inf).to(dtype)[:, None]


class KVProjection(nn.Module):
    """A pair of key and value projections, which the model owns; `kv_source` says which a layer uses."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        kv_dim = config.num_kv_heads * config.head_dim
        self.key = CastLinear(config.model_dim, kv_dim)
        self.value = CastLinear(config.model_dim, kv_dim)


class Attention(nn.Module):
    """Causal grouped-query attention with normed, partly rotated queries and keys."""

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        self.num_heads, self.num_kv_heads, self.head_dim = config.num_heads, config.num_kv_heads, config.head_dim
        self.exclusive = config.exclusive_layers[layer]
        self.query = CastLinear(config.model_dim, config.model_dim)
        self.output = CastLinear(config.model_dim, config.model_dim)
        self.qk_gain = nn.Parameter(torch.full((config.num_heads,), config.qk_gain_init))

    def forward(
        self,
        x_BTD: Tensor,
        asking_BSD: Tensor,
        kv: KVProjection,
        tables_2TR: Tensor,
        visible_B1TT: Tensor | None,
        delta: LayerDelta | None,
    ) -> Tensor:
        """Return the last S positions' outputs [B, S, D]: queries are of `asking_BSD`, keys and values of `x_BTD`. What
        is visible is what `visible_in_document` returned, or None for all positions up to the query's."""
        query_BSD, key, value = self.query(asking_BSD), kv.key(x_BTD), kv.value(x_BTD)
        if delta is not None:
            query_BSD = delta("query", asking_BSD, query_BSD)
            key = delta("key", x_BTD, key)
            value = delta("value", x_BTD, value)
        q_BHSE = self._split_heads(query_BSD, self.num_heads)
        k_BKTE = self._split_heads(key, self.num_kv_heads)
        v_BKTE = self._split_heads(value, self.num_kv_heads)
        k_BKTE = rotate_partial(rms_norm(k_BKTE), tables_2TR)
        length, last = x_BTD.shape[1], asking_BSD.shape[1]
        visible = visible_B1TT if visible_B1TT is None else visible_B1TT[:, :, length - last :]
        if visible is None and last < length:
            visible = x_BTD.new_ones(last, length, dtype=torch.bool).tril(length - last)
        q_BHSE = rotate_partial(rms_norm(q_BHSE), tables_2TR[:, -last:]) * self.qk_gain.to(x_BTD.dtype)[:, None, None]
        y_BHSE = F.scaled_dot_product_attention(
            q_BHSE, k_BKTE, v_BKTE, visible, is_causal=visible is None, enable_gqa=True
        )
        if self.exclusive:
            y_BHSE = remove_own_value(y_BHSE, v_BKTE[:, :, length - last :])
        mixed_BSD: Tensor = self.output(y_BHSE.transpose(1, 2).flatten(2))
        return delta("output", asking_BSD, mixed_BSD) if delta is not None else mixed_BSD

    def _split_heads(self, x_BTD: Tensor, heads: int) -> Tensor:
        x_BTHE: Tensor = x_BTD.unflatten(-1, (heads, self.head_dim))
        return x_BTHE.transpose(1, 2)


def remove_own_value(y_BHTE: Tensor, v_BKTE: Tensor) -> Tensor:
    """Return each head's output without its component along the position's own value (arXiv 2603.09078)."""
    unit_BKTE = F.normalize(v_BKTE, dim=-1)
    unit_BHTE = unit_BKTE.repeat_interleave(y_BHTE.shape[1] // v_BKTE.shape[1], dim=1)
    return y_BHTE - (y_BHTE * unit_BHTE).sum(-1, keepdim=True) * unit_BHTE


class _LeakySquare(torch.autograd.Function):
    """leaky_relu(x, slope)^2, computed as x * f with f = leaky_relu(x, slope^2). Its derivative is 2 f."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, slope: float) -> Tensor:
        factor = F.leaky_relu(x, slope * slope)
        ctx.save_for_backward(factor)
        return x * factor

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (factor,) = ctx.saved_tensors
        return (grad * factor).mul_(2), None


class MLP(nn.Module):
    """The map output(leaky_relu(input(x)) ** 2)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.leaky_slope = config.leaky_slope
        self.input = CastLinear(config.model_dim, config.mlp_hidden)
        self.output = CastLinear(config.mlp_hidden, config.model_dim)

    def forward(self, x_BTD: Tensor) -> Tensor:
        slope, hidden_BTF = self.leaky_slope, self.input(x_BTD)
        hidden_BTF = _LeakySquare.apply(hidden_BTF, slope)  # type: ignore[no-untyped-call]  # torch leaves it untyped
        y_BTD: Tensor = self.output(hidden_BTF)
        return y_BTD


class Block(nn.Module):
    """One layer: a mix with the activations before all layers, then attention, then MLP, each scaled per channel. In a
    parallel layer the MLP reads what the attention reads."""

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        self.parallel = config.parallel_layers[layer]
        self.input_scale = 1 / math.sqrt(layer + 1) if config.depth_scale else 1.0
        self.attention = Attention(config, layer)
        self.mlp = MLP(config)
        self.attention_scale = nn.Parameter(torch.ones(config.model_dim))
        self.mlp_scale = nn.Parameter(torch.ones(config.model_dim))
        self.residual_mix = nn.Parameter(torch.stack((torch.ones(config.model_dim), torch.zeros(config.model_dim))))

    def forward(
        self,
        x_BTD: Tensor,
        x0_BTD: Tensor,
        kv: KVProjection,
        tables_2TR: Tensor,
        visible_B1TT: Tensor | None,
        delta: LayerDelta | None,
        last: int = 0,
    ) -> Tensor:
        """Return the activations after the block: of all positions, or of the last `last` where that is not 0."""
        mix = self.residual_mix.to(x_BTD.dtype)
        x_BTD = mix[0] * x_BTD + mix[1] * x0_BTD
        normed_BTD = asking_BSD = self._input(x_BTD)
        if last:
            x_BTD, asking_BSD = x_BTD[:, -last:], normed_BTD[:, -last:]
        attended_BSD = self.attention(normed_BTD, asking_BSD, kv, tables_2TR, visible_B1TT, delta)
        x_BSD = x_BTD + self.attention_scale.to(x_BTD.dtype) * attended_BSD
        read_BSD = asking_BSD if self.parallel else self._input(x_BSD)
        mapped_BSD = self.mlp(read_BSD)
        if delta is not None:
            mapped_BSD = delta("mlp", read_BSD, mapped_BSD)
        y_BSD: Tensor = x_BSD + self.mlp_scale.to(x_BSD.dtype) * mapped_BSD
        return y_BSD

    def _input(self, x_BTD: Tensor) -> Tensor:
        normed_BTD = rms_norm(x_BTD)
        return normed_BTD if self.input_scale == 1 else normed_BTD * self.input_scale
