"""The size that a configuration asks for, how it is measured while the solver looks for it, and the thread it takes."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Mapping
from typing import Any

from golfpipe.codec.coder import Coder
from golfpipe.codec.coders import CODERS
from golfpipe.codec.config import PackConfig
from golfpipe.codec.container import encode_payload
from golfpipe.codec.pieces import Piece
from golfpipe.quant.config import MATRIX_CLASSES, QuantizeConfig, target_bytes_of
from golfpipe.quant.policy import assign_classes
from golfpipe.quant.quantizer import Target


class StreamCache:
    """The coded streams of the last piece of each name: the solver codes most pieces once and asks for sizes often.

    It holds streams, not pieces, whose codes are several times as large.
    """

    def __init__(self, coder: Coder) -> None:
        self._coder = coder
        self._last: dict[str, tuple[weakref.ref[Piece], list[bytes]]] = {}

    def streams_of(self, piece: Piece) -> list[bytes]:
        """Return what the coder's `encode` returns."""
        known = self._last.get(piece.name)
        if known is None or known[0]() is not piece:
            known = self._last[piece.name] = (weakref.ref(piece), self._coder.encode(piece))
        return known[1]


def size_target(
    settings: QuantizeConfig,
    pack: PackConfig,
    model: Mapping[str, Any],
    shapes: Mapping[str, tuple[int, ...]],
    file_of: Callable[[bytes], bytes],
) -> Target:
    """Return the target of settings that have one.

    model and shapes describe the architecture as it is packed; file_of turns a payload into the file whose bytes count.
    Raises ConfigError where the limit leaves nothing.
    """
    cache = StreamCache(CODERS.load(pack.coder))
    if settings.target_bits:
        classes = assign_classes(settings, shapes, None)
        names = {name for name, tensor_class in classes.items() if tensor_class in MATRIX_CLASSES}
        count = sum(math.prod(shape) for name, shape in shapes.items() if name in names)
        return Target(
            settings.target_bits * count / 8,
            lambda pieces: sum(len(s) for name in names for s in cache.streams_of(pieces[name])),
        )
    return Target(
        target_bytes_of(settings, pack.limit_bytes, pack.code_bytes_reserve),
        lambda pieces: len(
            file_of(encode_payload(model, pieces.values(), coder=pack.coder, streams_of=cache.streams_of))
        ),
    )
