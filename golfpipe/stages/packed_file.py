"""The packed file as bytes: what `pack` writes, and what `quantize` measures when it solves for a size."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from golfpipe.codec.container import encode_payload
from golfpipe.codec.pieces import Piece
from golfpipe.codec.streams import Coder
from golfpipe.config.schema import Plain
from golfpipe.store.tensors import tensors_to_bytes


def packed_file(model: Plain, pieces: Mapping[str, Piece], coder: Coder) -> tuple[bytes, bytes]:
    """(content of packed.safetensors, the payload inside it)."""
    payload = encode_payload(model, pieces.values(), coder=coder)
    return tensors_to_bytes({"payload": torch.from_numpy(np.frombuffer(payload, dtype=np.uint8).copy())}), payload
