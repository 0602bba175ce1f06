"""The packed file as bytes: what `pack` writes, and what `quantize` measures when it solves for a size."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from golfpipe.codec.container import encode_payload
from golfpipe.codec.pieces import Piece
from golfpipe.codec.streams import Coder, piece_to_streams
from golfpipe.config.schema import Plain
from golfpipe.store.tensors import tensors_to_bytes


class StreamCache:
    """The coded streams of the last piece of each name: the solver codes most pieces once and asks for sizes often."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[Piece, list[bytes]]] = {}

    def streams_of(self, piece: Piece, coder: Coder) -> list[bytes]:
        """piece_to_streams; coder must always be the same one."""
        known = self._last.get(piece.name)
        if known is None or known[0] is not piece:
            known = self._last[piece.name] = (piece, piece_to_streams(piece, coder))
        return known[1]


def packed_file(
    model: Plain, pieces: Mapping[str, Piece], coder: Coder, cache: StreamCache | None = None
) -> tuple[bytes, bytes]:
    """(content of packed.safetensors, the payload inside it)."""
    streams_of = cache.streams_of if cache is not None else piece_to_streams
    payload = encode_payload(model, pieces.values(), coder=coder, streams_of=streams_of)
    return tensors_to_bytes({"payload": torch.from_numpy(np.frombuffer(payload, dtype=np.uint8).copy())}), payload
