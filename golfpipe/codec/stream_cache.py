"""Coded streams that are remembered, for a solver that asks for sizes often."""

from __future__ import annotations

import weakref

from golfpipe.codec.coder import Coder
from golfpipe.codec.pieces import Piece


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
