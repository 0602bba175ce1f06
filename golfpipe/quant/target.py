"""The size that a configuration asks for, how it is measured while the solver looks for it, and with how many threads."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from golfpipe.codec.config import PackConfig
from golfpipe.codec.container import encode_payload
from golfpipe.codec.pieces import Piece
from golfpipe.codec.streams import Coder, piece_to_streams
from golfpipe.errors import ConfigError
from golfpipe.quant.config import QuantizeConfig
from golfpipe.quant.export import Target
from golfpipe.quant.policy import assign_classes

LIMIT_MARGIN = 2_000
"""Bytes that target_bytes=limit leaves free under the limit."""

_MATRIX_CLASSES = ("mlp", "attention", "ngram")


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


def size_target(
    settings: QuantizeConfig,
    pack: PackConfig,
    model: Mapping[str, Any],
    shapes: Mapping[str, tuple[int, ...]],
    file_of: Callable[[bytes], bytes],
) -> Target:
    """Of a configuration that has one. model, shapes: of the architecture, as it is packed; file_of: payload -> the
    file whose bytes count. Raises ConfigError where the limit leaves nothing."""
    cache = StreamCache()
    if settings.target_bits:
        classes = assign_classes(settings, shapes, None)
        names = {name for name, tensor_class in classes.items() if tensor_class in _MATRIX_CLASSES}
        count = sum(math.prod(shape) for name, shape in shapes.items() if name in names)
        return Target(
            settings.target_bits * count / 8,
            lambda pieces: sum(len(s) for name in names for s in cache.streams_of(pieces[name], pack.coder)),
        )
    size = settings.target_bytes
    if size == "limit":
        size = pack.limit_bytes - pack.code_bytes_reserve - LIMIT_MARGIN
        if size <= 0:
            raise ConfigError(f"pack.limit_bytes={pack.limit_bytes} leaves nothing beside the code reserve")
    assert not isinstance(size, str)
    return Target(
        size,
        lambda pieces: len(
            file_of(encode_payload(model, pieces.values(), coder=pack.coder, streams_of=cache.streams_of))
        ),
    )


@contextmanager
def search_threads(settings: QuantizeConfig, device: torch.device) -> Iterator[int]:
    """Within: one torch thread for searches column by column, whose steps are too short to share (two threads on two
    busy cores took 14 times as long). Gives the number of tensors to search side by side."""
    if not settings.is_open and settings.method != "gptq":
        yield 1
        return
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield threads if device.type == "cpu" else 1
    finally:
        torch.set_num_threads(threads)
