"""Bytes to the state dict that they stand for."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from golfpipe.codec.state import StoredTensor, decode_state


def decompress(data: bytes) -> dict[str, Tensor]:
    """Return the state dict that `compress` made the bytes from: names, shapes and types as they were, on the CPU.

    A tensor that was there under two names is one tensor again. The payload of a packed model of golfpipe gives its
    weights in fp32. Raises ArtifactError for anything that is not exactly a whole payload.
    """
    state: dict[str, Tensor] = {}
    lines: list[Tensor] = []
    for stored, values in decode_state(bytes(data)):
        tensor = lines[stored.same_as] if values is None and stored.same_as is not None else _tensor(stored, values)
        lines.append(tensor)
        state[stored.name] = tensor
    return state


def _tensor(stored: StoredTensor, values: np.ndarray | None) -> Tensor:
    assert values is not None
    dtype: torch.dtype = getattr(torch, stored.dtype)
    if not stored.num_values:  # a view, since torch.empty warns that complex32 is experimental
        return torch.empty(0, dtype=torch.uint8).view(dtype).reshape(stored.shape)
    if values.dtype == np.uint8:
        return torch.from_numpy(values).view(dtype).reshape(stored.shape)
    most = min(torch.finfo(dtype).max, torch.finfo(torch.float32).max)  # a code may lie beyond it, unlike its weight
    return torch.from_numpy(values).clamp(-most, most).to(dtype).contiguous()
