"""What an error of a weight costs in loss, as a product of a row's and a column's number.

The loss grows by 1/2 sum F_rc dw_rc^2 nats per token, F the diagonal of the Fisher information: the mean square of the
gradient for targets drawn from the model itself. For a linear map the columns' part is known exactly, from its inputs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from golfpipe.quant.calibration_data import CalibrationData
from golfpipe.quant.hessian import FeedbackFactor, feedback_factor

# Shapes: R rows, C values per row

_PRIOR_VALUES = 8.0
"""A row's mean is drawn towards the tensor's as if that many more of its values had been seen."""


@dataclass(frozen=True, slots=True, eq=False)
class Sensitivity:
    """The cost of a squared error, factored as row * column; with a factor it is the cost after error feedback."""

    row_R: np.ndarray
    column_C: np.ndarray
    factor: FeedbackFactor | None

    @property
    def log_step_R(self) -> np.ndarray:
        """Return log2 of the step that each row asks for, which is row^(-1/2)."""
        log_step: np.ndarray = -0.5 * np.log2(self.row_R)
        return log_step

    @property
    def log_step_C(self) -> np.ndarray:
        log_step: np.ndarray = -0.5 * np.log2(self.column_C)
        return log_step


def flat_sensitivity(w_RC: Tensor) -> Sensitivity:
    """Return the sensitivity without calibration: each tensor tolerates the same error relative to its mean square."""
    mean_square = float(w_RC.double().square().mean()) or 1.0
    return Sensitivity(np.full(w_RC.shape[0], 1 / mean_square), np.ones(w_RC.shape[1]), None)


def measured_sensitivity(
    name: str, w_RC: Tensor, data: CalibrationData, damping: float, *, by_diagonal: bool
) -> Sensitivity:
    """Return the sensitivity that gradients show and, for a linear map, its inputs; by_diagonal: see feedback_factor.

    A tensor without a Fisher diagonal tolerates the same error of its outputs (or, its inputs not known either, of
    itself) as others relative to their mean square. Raises StageFailed where the moments are useless.
    """
    moments = data.moments.get(name)
    if name not in data.fisher:
        return _relative_sensitivity(name, w_RC, moments, data.typical_cost, damping, by_diagonal=by_diagonal)
    fisher = data.fisher[name].double().cpu().numpy()
    mean = max(float(fisher.mean()), 1e-30)
    num_columns = fisher.shape[1]
    row_R = (fisher.sum(axis=1) + _PRIOR_VALUES * mean) / (num_columns + _PRIOR_VALUES)
    if moments is None:
        # Columns relative to what the rows explain; a vector's few values are too noisy to tell apart.
        weighted_C = (fisher / row_R[:, None]).sum(axis=0) if len(row_R) > 1 else np.ones(num_columns)
        return Sensitivity(row_R, (weighted_C + _PRIOR_VALUES) / (max(len(row_R), 1) + _PRIOR_VALUES), None)
    factor, column_C = _feedback(name, moments, damping, by_diagonal=by_diagonal)
    diagonal = max(float(moments.diagonal().double().mean()), 1e-30)
    return Sensitivity(row_R / diagonal, column_C, factor)


def _relative_sensitivity(
    name: str, w_RC: Tensor, moments: Tensor | None, cost: float, damping: float, *, by_diagonal: bool
) -> Sensitivity:
    if moments is None:
        flat = flat_sensitivity(w_RC)
        return Sensitivity(flat.row_R * cost, flat.column_C, None)
    factor, column_C = _feedback(name, moments, damping, by_diagonal=by_diagonal)
    power = float(((w_RC @ moments.to(w_RC)) * w_RC).double().sum())
    per_row = cost * w_RC.numel() / power if power > 0 else 1.0
    return Sensitivity(np.full(len(w_RC), per_row), column_C, factor)


def _feedback(name: str, moments: Tensor, damping: float, *, by_diagonal: bool) -> tuple[FeedbackFactor, np.ndarray]:
    """Return the factor, and the cost of each column in the tensor's own order, fp64 [C]."""
    factor = feedback_factor(moments, damping, by_diagonal=by_diagonal, name=name)
    column_C = np.empty(len(moments))
    column_C[factor.order_C.cpu().numpy()] = factor.weight_C.cpu().numpy()
    return factor, column_C
