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


def measured_sensitivity(name: str, data: CalibrationData, damping: float, *, by_diagonal: bool) -> Sensitivity:
    """Return the sensitivity that gradients show and, for a linear map, its inputs; by_diagonal: see feedback_factor.

    Raises StageFailed where the moments are useless.
    """
    fisher = data.fisher[name].double().cpu().numpy()
    moments = data.moments.get(name)
    mean = max(float(fisher.mean()), 1e-30)
    num_columns = fisher.shape[1]
    row_R = (fisher.sum(axis=1) + _PRIOR_VALUES * mean) / (num_columns + _PRIOR_VALUES)
    if moments is None:
        # Columns relative to what the rows explain; a vector's few values are too noisy to tell apart.
        weighted_C = (fisher / row_R[:, None]).sum(axis=0) if len(row_R) > 1 else np.ones(num_columns)
        return Sensitivity(row_R, (weighted_C + _PRIOR_VALUES) / (max(len(row_R), 1) + _PRIOR_VALUES), None)
    factor = feedback_factor(moments, damping, by_diagonal=by_diagonal, name=name)
    diagonal = max(float(moments.diagonal().double().mean()), 1e-30)
    column_C = np.empty(num_columns)
    column_C[factor.order_C.cpu().numpy()] = factor.weight_C.cpu().numpy()
    return Sensitivity(row_R / diagonal, column_C, factor)
