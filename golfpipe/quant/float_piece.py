"""A tensor that is stored as floats."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from golfpipe.codec.pieces import FLOAT_DTYPES, Piece
from golfpipe.errors import StageFailed


def float_piece(name: str, weight: Tensor, bits: int) -> Piece:
    """Return the piece of a weight in 16 or 32 bits. Raises StageFailed where a number does not fit."""
    values = weight.detach().cpu().float().numpy()
    if not np.isfinite(values).all():
        raise StageFailed(f"{name}: weights are NaN or infinite")
    largest = float(np.abs(values).max())
    if bits == 16 and largest >= 65520:  # the first number that rounds to infinity in fp16
        raise StageFailed(f"{name}: weight {largest:g} exceeds fp16, whose largest number is 65504")
    return Piece(name=name, shape=tuple(weight.shape), bits=bits, floats=values.astype(FLOAT_DTYPES[bits]))
