"""What errors of each block cost, cut out of the calibration of the tensors that the blocks are parts of."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from golfpipe.choices import unknown_name
from golfpipe.errors import ConfigError
from golfpipe.quant.calibration_data import CalibrationData
from golfpipe.weights.plan import Part, Plan, blocks_of, cut


def block_costs(plans: Sequence[Plan], data: CalibrationData, names: Sequence[str]) -> CalibrationData:
    """Return the calibration by the names of the coded blocks, which are given in the order of the plans.

    A part without moments of its own takes those of its whole tensor, as the parts of a fused query, key and value do.
    A block without a Fisher diagonal gets one by which it tolerates the same error of its outputs (or, its inputs not
    known either, of itself) as others relative to their mean square. Raises ConfigError for a name that no tensor has,
    and for sizes that do not agree.
    """
    _check_names(plans, data)
    fisher: dict[str, Tensor] = {}
    moments: dict[str, Tensor] = {}
    unknown: dict[str, Tensor] = {}
    log_costs: list[float] = []
    waiting = iter(names)
    for plan in plans:
        whole = data.fisher.get(plan.name)
        if whole is not None and whole.numel() != plan.tensor.numel():
            raise ConfigError(f"{plan.name}: calibrated with {whole.numel()} values, now {plan.tensor.numel()}")
        gradients = list(cut(plan, whole)) if whole is not None else [None] * len(plan.parts)
        for part, weight_RC, fisher_RC in zip(plan.parts, cut(plan, plan.tensor), gradients, strict=True):
            seen = fisher_RC is not None and bool(fisher_RC.any())  # without a gradient nothing is known of its cost
            if fisher_RC is not None and seen:
                power = float(weight_RC.float().square().mean()) * float(fisher_RC.mean())
                log_costs += [math.log(power)] if power > 0 else []
            start = 0
            for num_rows, name in zip(blocks_of(part.shape), waiting, strict=False):
                if fisher_RC is not None and seen:
                    fisher[name] = fisher_RC[start : start + num_rows]
                else:
                    unknown[name] = weight_RC[start : start + num_rows]
                inputs = part_moments(plan, part, data.moments)
                if inputs is not None:
                    moments[name] = inputs
                start += num_rows
    typical = math.exp(math.fsum(log_costs) / len(log_costs)) if log_costs else 1.0
    for name, block_RC in unknown.items():
        cost = typical * _per_relative_error(block_RC, moments.get(name))
        fisher[name] = torch.full((1, 1), cost).expand(block_RC.shape)
    return CalibrationData(fisher, moments)


def _per_relative_error(block_RC: Tensor, moments: Tensor | None) -> float:
    """Return the Fisher diagonal by which the error of all outputs, or of all weights, costs 1 where it is as large as
    their mean square."""
    w_RC = block_RC.float()
    if moments is None:
        return 1 / (float(w_RC.square().mean()) or 1.0)
    power = float(((w_RC @ moments.to(w_RC)) * w_RC).double().sum())
    return w_RC.numel() * float(moments.diagonal().double().mean()) / power if power > 0 else 1.0


def part_moments(plan: Plan, part: Part, moments: Mapping[str, Tensor]) -> Tensor | None:
    """Return the second moments of the inputs of a part; None where they are not known."""
    found = moments.get(part.label, moments.get(plan.name))
    return found if found is not None and len(found) == part.shape[1] else None


def _check_names(plans: Sequence[Plan], data: CalibrationData) -> None:
    tensors = {plan.name for plan in plans}
    widths = {part.label: part.shape[1] for plan in plans for part in plan.parts}
    for name, moments in data.moments.items():
        if name not in tensors and name not in widths:
            error = unknown_name(name, "tensor, which was calibrated:", [*tensors, *widths])
            hint = f"{error.hint}; the parts of a bank need a rule: rules={{'bank': split(0)}}"
            raise ConfigError(error.message, hint=hint)
        if name in widths and widths[name] != len(moments):
            raise ConfigError(f"{name}: {widths[name]} inputs, but it was calibrated with {len(moments)}")
