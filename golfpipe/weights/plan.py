"""What becomes of each tensor: the pieces that it is stored in, and why.

Matrices and tables are coded. At most 8,192 values are kept in fp16; what codes cannot hold (whole numbers, infinite or
huge values, a handful of different values, as in masks) is kept bit by bit. So every tensor can be stored.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from golfpipe.codec.state import DTYPE_BYTES
from golfpipe.errors import ConfigError, StageFailed
from golfpipe.weights.rules import Rule, Split, check_rules, rule_of

# Shapes: R rows, C columns, N values

MOST_EXACT_VALUES = 8_192
"""The most values of a tensor that is kept in fp16 where no rule says otherwise."""
BLOCK_VALUES = 1 << 24
"""The most values of a piece: larger weights are coded in blocks of rows, one after the other, which bounds memory."""
_LEAST, _MOST = 2.0**-24, 2.0**40
"""Magnitudes within which the largest value of a coded tensor must lie."""
_FEW_VALUES = 16
"""Tensors of at most that many different values are kept exactly: their codes would cost as much and err."""
_PROBE_VALUES = 4_096
_NARROW, _WIDE, _FLAT_WIDTH = 32, 16_384, 1_024
"""Rows of fewer or of more values say nothing about rows or would take the search for ever; values are then laid out in
rows of 1,024."""
_MATRIX_WIDTH = 64
"""Last axes from here on are the inputs of a matrix (banks [L, D, D]); shorter ones belong to a kernel [out, in, k]."""
_TABLE_WORDS = ("wte", "tok_emb", "token_emb", "embed_tokens", "lm_head", "output_head", "unembed")
"""Parts of the names of token tables and heads in common training scripts."""

How = Literal["coded", "fp16", "exact", "same"]


@dataclass(frozen=True, slots=True)
class Part:
    """A weight that is coded on its own: a whole tensor, or a part of one."""

    label: str
    """Its name in a calibration."""
    shape: tuple[int, int]


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """How one tensor is stored."""

    name: str
    tensor: Tensor
    how: How
    why: str
    """The reason in a few words, for the table."""
    axis: int = 0
    """The axis that is moved to the front before the parts are cut off one after the other."""
    parts: tuple[Part, ...] = ()
    is_table: bool = False
    same_as: int | None = None
    """The number of the plan whose tensor this one is."""

    @property
    def dtype(self) -> str:
        """The name of the type without `torch.`"""
        return str(self.tensor.dtype).removeprefix("torch.")


def plan_state(state: Mapping[str, Tensor], rules: Mapping[str, Rule], measured: Mapping[str, int]) -> list[Plan]:
    """Plan the tensors of a state dict in its order.

    measured: the parts whose inputs a calibration has seen, with the number of inputs. Raises ConfigError for what is
    no dense tensor and for rules that do not fit, StageFailed for NaN in a tensor that no rule keeps exactly.
    """
    check_rules(rules, list(state))
    plans: list[Plan] = []
    seen: dict[tuple[object, ...], int] = {}
    for name, tensor in state.items():
        _check_tensor(name, tensor)
        tensor = tensor.detach()
        place = (tensor.data_ptr(), tensor.dtype, tensor.shape, tensor.stride())
        if tensor.numel() and place in seen:
            first = plans[seen[place]]
            why = f"as {first.name}"
            plans.append(Plan(name=name, tensor=tensor, how="same", why=why, same_as=seen[place]))
            continue
        seen[place] = len(plans)
        plans.append(_plan_tensor(name, tensor, rule_of(rules, name), measured))
    return plans


def cut(plan: Plan, tensor: Tensor) -> Iterator[Tensor]:
    """Yield the parts [R, C] of a tensor that has the shape of the plan's; views where the tensor is contiguous."""
    flat_N = tensor.reshape(plan.tensor.shape).movedim(plan.axis, 0).reshape(-1)
    start = 0
    for part in plan.parts:
        end = start + math.prod(part.shape)
        yield flat_N[start:end].view(part.shape)
        start = end


def blocks_of(shape: tuple[int, ...]) -> list[int]:
    """Return the numbers of rows of the blocks that a part is coded in."""
    num_rows, width = shape
    at_once = max(1, BLOCK_VALUES // width)
    return [min(at_once, num_rows - start) for start in range(0, num_rows, at_once)]


def _check_tensor(name: object, tensor: object) -> None:
    if not isinstance(name, str) or not isinstance(tensor, Tensor):
        raise ConfigError(
            f"state dict: {str(name)[:100]!r} is a {type(tensor).__name__}, expected tensors by name",
            hint="compress(model.state_dict(), ...), without the optimizer's",
        )
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.device.type == "meta":
        raise ConfigError(f"{name}: stored as {tensor.layout} on {tensor.device}, expected a dense tensor with values")
    if str(tensor.dtype).removeprefix("torch.") not in DTYPE_BYTES:
        raise ConfigError(f"{name}: numbers of type {tensor.dtype} cannot be stored")


def _plan_tensor(name: str, tensor: Tensor, rule: Rule | None, measured: Mapping[str, int]) -> Plan:
    how, why = _how(name, tensor, rule)
    if how != "coded":
        return Plan(name=name, tensor=tensor, how=how, why=why)
    axis, parts = _layout(name, tuple(tensor.shape), rule, measured)
    is_table = rule == "table" or (rule is None and any(word in name for word in _TABLE_WORDS))
    return Plan(name=name, tensor=tensor, how=how, why=why, axis=axis, parts=parts, is_table=is_table)


def _how(name: str, tensor: Tensor, rule: Rule | None) -> tuple[How, str]:
    if tensor.numel() == 0:
        return "exact", "empty"
    if not tensor.is_floating_point():
        return "exact", "complex" if tensor.is_complex() else "whole numbers"
    if rule == "exact":
        return "exact", "rule"
    largest = _largest(tensor)
    if math.isnan(largest):
        raise StageFailed(
            f"{name}: holds NaN, as weights of a diverged run do",
            hint=f'to store it as it is: rules={{"{name}": "exact"}}',
        )
    fits_fp16 = largest < 65_520 and (largest == 0 or largest >= 2.0**-14)
    if rule == "fp16" and not fits_fp16:
        raise ConfigError(f'{name}: the rule is "fp16", but its largest number is {largest:g}')
    if rule == "fp16" or (rule is None and tensor.numel() <= MOST_EXACT_VALUES):
        if tensor.element_size() > 2 or tensor.dtype == torch.float16:
            return ("fp16", "rule" if rule else "few values") if fits_fp16 else ("exact", "beyond fp16")
        return "exact", "few values"
    if not math.isfinite(largest) or not (largest == 0 or _LEAST <= largest <= _MOST):
        return "exact", f"magnitude {largest:g}"
    if rule is None and _has_few_values(tensor):
        return "exact", f"{_FEW_VALUES} values or fewer"
    return "coded", "rule" if rule else "matrix" if tensor.ndim > 1 else "vector"


def _largest(tensor: Tensor) -> float:
    """Return the largest magnitude; NaN where there is one. Never makes a copy of a large tensor."""
    if tensor.element_size() == 1:  # aminmax knows no fp8
        tensor = tensor.float()
    least, most = (float(value) for value in torch.aminmax(tensor))
    return math.nan if math.isnan(least) or math.isnan(most) else max(-least, most)


def _has_few_values(tensor: Tensor) -> bool:
    flat_N = tensor.reshape(-1)
    stride = max(1, len(flat_N) // _PROBE_VALUES)
    if len(flat_N[::stride].float().unique()) > _FEW_VALUES:
        return False
    found = torch.cat([part.float().unique() for part in flat_N.split(BLOCK_VALUES)])
    return len(found.unique()) <= _FEW_VALUES


def _layout(
    name: str, shape: tuple[int, ...], rule: Rule | None, measured: Mapping[str, int]
) -> tuple[int, tuple[Part, ...]]:
    """Return the axis that comes first, and the parts."""
    if rule == "transposed":
        if len(shape) < 2:
            raise ConfigError(f'rule of {name!r}: "transposed", but the tensor has shape {list(shape)}')
        return 1, (Part(name, (shape[1], math.prod(shape) // shape[1])),)
    if not isinstance(rule, Split):
        return 0, _matrix(name, shape, measured)
    sizes, axis = rule.part_sizes(name, shape), rule.axis
    rest = shape[:axis] + shape[axis + 1 :]
    shapes = [rest] * shape[axis] if sizes is None else [(size, *rest) for size in sizes]
    return axis, tuple(part for i, own in enumerate(shapes) for part in _matrix(f"{name}.{i}", own, measured))


def _matrix(label: str, shape: tuple[int, ...], measured: Mapping[str, int]) -> tuple[Part, ...]:
    """Return a weight of any shape as a matrix; as two where its values do not fill whole rows."""
    count = math.prod(shape)
    width = shape[-1] if len(shape) == 2 or shape[-1] >= _MATRIX_WIDTH else math.prod(shape[1:])
    if len(shape) > 1 and (measured.get(label) == width or _NARROW <= width <= _WIDE):
        return (Part(label, (count // width, width)),)
    rows, rest = divmod(count, _FLAT_WIDTH)
    filled = (Part(label, (rows, _FLAT_WIDTH)),) if rows else ()
    return (*filled, Part(label, (1, rest))) if rest else filled
