"""The packed file as bytes: what `pack` writes, and what `quantize` measures when it solves for a size."""

from __future__ import annotations

import numpy as np
import torch

from golfpipe.store.tensors import tensors_to_bytes


def packed_file(payload: bytes) -> bytes:
    """Content of packed.safetensors: the payload as one uint8 tensor."""
    return tensors_to_bytes({"payload": torch.from_numpy(np.frombuffer(payload, dtype=np.uint8).copy())})
