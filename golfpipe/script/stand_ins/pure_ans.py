"""What golfpipe's readers use of the library constriction, in plain Python: the same symbols, and far slower.

It takes constriction's place in readers that shall need nothing but NumPy. The arithmetic is that of
docs/file-formats.md, in whole numbers.
"""

from __future__ import annotations

from bisect import bisect_right
from types import SimpleNamespace

import numpy as np

# Shapes: S symbols of a table, N symbols

_POINTS = 1 << 24
"""A table's intervals share the whole numbers below this."""
_WORD = 1 << 32


class Categorical:
    """The intervals of the symbols 0..S-1; left[i] is where that of symbol i begins."""

    def __init__(self, probabilities_S: np.ndarray, *, perfect: bool) -> None:
        """Probabilities are frequencies over a power of two, so that the products below are exact; perfect is False."""
        before_S = np.concatenate([[0.0], np.cumsum(probabilities_S)[:-1]])
        left_S = (before_S * (_POINTS - len(before_S))).astype(np.int64) + np.arange(len(before_S))
        self.left: list[int] = left_S.tolist()
        self.width: list[int] = np.diff(left_S, append=_POINTS).tolist()


class AnsCoder:
    """The decoder: a state of up to 64 bits, and the words that are not yet read, the next one last."""

    def __init__(self, words: np.ndarray) -> None:
        """words: uint32. Raises ValueError where the last one is 0, which no encoder writes."""
        self._words: list[int] = words.tolist()
        if self._words and not self._words[-1]:
            raise ValueError("the last word is zero")
        self._state = 0
        for _ in range(min(2, len(self._words))):
            self._state = self._state * _WORD + self._words.pop()

    def decode(self, model: Categorical, count: int) -> np.ndarray:
        """Return the next symbols, int32 [N]."""
        left, width, words, state = model.left, model.width, self._words, self._state
        symbols = []
        for _ in range(count):
            point = state % _POINTS
            symbol = bisect_right(left, point) - 1
            state = (state // _POINTS) * width[symbol] + point - left[symbol]
            if state < _WORD and words:
                state = state * _WORD + words.pop()
            symbols.append(symbol)
        self._state = state
        return np.array(symbols, dtype=np.int32)

    def get_compressed(self) -> np.ndarray:
        """Return the words that are left and those of the state, uint32."""
        words, state = [*self._words], self._state
        while state:
            words.append(state % _WORD)
            state //= _WORD
        return np.array(words, dtype=np.uint32)


constriction = SimpleNamespace(
    stream=SimpleNamespace(
        stack=SimpleNamespace(AnsCoder=AnsCoder),
        model=SimpleNamespace(Categorical=Categorical),
    )
)
