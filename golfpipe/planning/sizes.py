"""Bytes and bits of a design: what the weights take at so many bits each, and which bits a size leaves.

The solver gives a packed file the size that it is asked for, so a size is chosen, and what follows is the bits. Bits
are all-in: codes, row steps and headers of the coded weights, over their number.
"""

from __future__ import annotations

import math

from golfpipe.model.config import ModelConfig, parameter_shapes
from golfpipe.quant.config import MIN_OPEN_VALUES

LEAST_BITS, MOST_BITS = 1.6, 5.0
"""A design of fewer bits a weight is left out: what they cost was not measured. More than 5 gain nothing (measured on
`tiny`: 0.0001 bits per byte)."""
_FILE_BYTES, _TENSOR_BYTES, _FLOAT_BYTES = 750, 14, 2
"""What remains of a packed file with every code at zero, fitted to six designs of 0.2 to 1.7 million weights, whose
small tensors had their first values and took 1.25 bytes each; trained ones take at most the 2 of fp16."""


def coded_weights(model: ModelConfig) -> int:
    """Return the number of weights that are coded under a target size."""
    return sum(size for shape in parameter_shapes(model).values() if (size := math.prod(shape)) >= MIN_OPEN_VALUES)


def uncoded_bytes(model: ModelConfig) -> float:
    """Return the bytes of a packed model beside its coded weights: small tensors in fp16, headers."""
    sizes = [math.prod(shape) for shape in parameter_shapes(model).values()]
    floats = sum(size for size in sizes if size < MIN_OPEN_VALUES)
    return _FILE_BYTES + _TENSOR_BYTES * len(sizes) + _FLOAT_BYTES * floats


def bytes_at(model: ModelConfig, bits: float) -> int:
    """Return the bytes of the packed model at so many bits a weight."""
    return math.ceil(uncoded_bytes(model) + coded_weights(model) * bits / 8)


def bits_at(model: ModelConfig, size: float) -> float:
    """Return the bits a weight that a packed model of so many bytes has; the inverse of `bytes_at`."""
    return 8 * (size - uncoded_bytes(model)) / coded_weights(model)
