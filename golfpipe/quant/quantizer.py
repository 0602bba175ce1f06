"""What a quantizer is: everything that the rest of golfpipe asks of one.

A quantizer's file holds a subclass of Quantizer and the object QUANTIZER. It is imported by every command, so torch is
imported inside `quantize`, or by a module that `quantize` imports.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from golfpipe.quant.config import ClassScheme, QuantizeConfig, TensorClass

if TYPE_CHECKING:
    from torch import Tensor

    from golfpipe.codec.pieces import Piece
    from golfpipe.quant.calibration_data import CalibrationData


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """A size to solve for."""

    size: float
    measure: Callable[[Mapping[str, Piece]], float]
    """Complete set of pieces, in the order of the weights -> size, in the unit of `size`."""
    code: Callable[[Piece], object] = id
    """Does ahead, on the thread that made a piece, what `measure` would have to do for it."""


@dataclass(frozen=True, slots=True)
class Solution:
    """How a target was met."""

    level: float
    size: float
    passes: int
    reached: bool
    """False where even the finest step stays below the target: the weights are then as good as exact."""


@dataclass(frozen=True, kw_only=True, eq=False)
class QuantizeWork:
    """What a quantizer works on, and whom it tells. All mappings are keyed by tensor name, in the same order."""

    weights: Mapping[str, Tensor]
    """The weights, of any float dtype and device; the search runs where a tensor lies."""
    classes: Mapping[str, TensorClass]
    schemes: Mapping[str, ClassScheme]
    """Storage of each tensor, as its class says."""
    settings: QuantizeConfig
    calibration: CalibrationData | None
    target: Target | None
    """Given where the settings have a target."""
    advance: Callable[[int], None]
    """Called after each tensor with the number of its values."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Quantized:
    """What a quantizer gives."""

    pieces: Mapping[str, Piece]
    """One for each tensor."""
    ratio_index: Mapping[str, Tensor] = field(default_factory=dict)
    """For tensors whose scales were searched, which of the clip ratios each row took, int64 [R]."""
    solution: Solution | None = None
    """How the target was met; None without one."""


class Quantizer(ABC):
    """One way to choose codes."""

    about: ClassVar[str]
    """What it does, as the README of a submission says it."""
    is_open: ClassVar[bool] = False
    """Its codes are open-ended, so that it can meet a target."""
    under_target: ClassVar[str | None] = None
    """Name of the quantizer that takes the place of one without open-ended codes where there is a target."""
    needs_moments: ClassVar[bool] = False
    """It needs the second moments of the inputs, hence calibration."""
    searches_columns: ClassVar[bool] = False
    """It goes column by column, in steps too short to be shared by threads."""

    @abstractmethod
    def quantize(self, work: QuantizeWork) -> Quantized:
        """Quantize every tensor as its scheme says.

        Raises StageFailed, naming the tensor, for weights that are not finite or do not fit, and for a target that is
        out of reach.
        """
