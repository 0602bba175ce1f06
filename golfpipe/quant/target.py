"""The size that a configuration asks for, how it is measured while the solver looks for it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from golfpipe.codec.coders import CODERS
from golfpipe.codec.config import PackConfig
from golfpipe.codec.container import encode_payload
from golfpipe.codec.stream_cache import StreamCache
from golfpipe.quant.config import MATRIX_CLASSES, QuantizeConfig, target_bytes_of
from golfpipe.quant.policy import assign_classes
from golfpipe.quant.quantizer import Target


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
            lambda piece: piece.name in names and cache.streams_of(piece),
        )
    return Target(
        target_bytes_of(settings, pack.limit_bytes, pack.code_bytes_reserve),
        lambda pieces: len(
            file_of(encode_payload(model, pieces.values(), coder=pack.coder, streams_of=cache.streams_of))
        ),
        cache.streams_of,
    )
