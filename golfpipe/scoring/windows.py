"""Window plans (docs/stages/evaluate.md), which score every target exactly once in texts of any length.

Target i is token i + 1, predicted from the inputs up to token i. A window over inputs [start, end) sees only those
tokens and scores the targets [score_start, end).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from golfpipe.scoring.config import EvaluateConfig

if TYPE_CHECKING:

    class Text(Protocol):
        """Tokens, or values of tokens, that are read in parts."""

        def span(self, start: int, stop: int, /) -> np.ndarray: ...


class Window(NamedTuple):
    """A window with inputs [start, end) and scored targets [score_start, score_end), where score_end == end."""

    start: int
    end: int
    score_start: int
    score_end: int


def chunked_windows(num_targets: int, context_length: int) -> Iterator[Window]:
    """Yield disjoint windows of context_length; the last one may be shorter."""
    for start in range(0, num_targets, context_length):
        end = min(start + context_length, num_targets)
        yield Window(start, end, start, end)


def spread_windows(num_targets: int, context_length: int, max_targets: int) -> list[Window]:
    """Return those of the `chunked_windows` that lie evenly over the whole text and score at most `max_targets`; all of
    them for 0.

    Neighbors in a text are alike, so that its beginning says less about it. Fewer than context_length targets are one
    window from the middle.
    """
    if max_targets == 0 or max_targets >= num_targets:
        return list(chunked_windows(num_targets, context_length))
    length = min(context_length, max_targets)
    count, places = max_targets // length, num_targets // length
    starts = [(2 * i + 1) * places // (2 * count) * length for i in range(count)]
    return [Window(start, start + length, start, start + length) for start in starts]


def gathered(text: Text, windows: Iterable[Window]) -> np.ndarray:
    """Return the text of each window, with the token after it, one behind the other; no more of it is read."""
    return np.concatenate([text.span(window.start, window.end + 1) for window in windows])


def moved_together(windows: Iterable[Window]) -> Iterator[Window]:
    """Return where disjoint windows are in what `gathered` returns.

    The target between two of them is scored by neither.
    """
    place = 0
    for window in windows:
        end = place + window.end - window.start
        yield Window(place, end, place, end)
        place = end + 1


def sliding_windows(num_targets: int, context_length: int, stride: int) -> Iterator[Window]:
    """Yield windows of which the first scores all its targets and each later one its last `stride` (fewer at the end).

    A window ends at its last scored target and reaches back context_length tokens: the final one is shifted, not
    shortened. A text of at most context_length targets has one window.
    """
    end = min(context_length, num_targets)
    if num_targets:
        yield Window(0, end, 0, end)
    while end < num_targets:
        score_start = end
        end = min(end + stride, num_targets)
        yield Window(end - context_length, end, score_start, end)


def plan_windows(num_targets: int, config: EvaluateConfig) -> Iterator[Window]:
    """Return the windows of the configured method, in the order of their targets."""
    if config.method == "chunked":
        return chunked_windows(num_targets, config.context_length)
    return sliding_windows(num_targets, config.context_length, config.stride)


def batch_windows(windows: Iterable[Window], batch_tokens: int) -> Iterator[list[Window]]:
    """Runs of neighboring windows of equal length that score equally many targets, at most `batch_tokens` input tokens
    (and at least one window)."""
    batch: list[Window] = []
    shape = (0, 0)
    for window in windows:
        before, shape = shape, (window.end - window.start, window.score_end - window.score_start)
        if batch and (shape != before or (len(batch) + 1) * shape[0] > batch_tokens):
            yield batch
            batch = []
        batch.append(window)
    if batch:
        yield batch
