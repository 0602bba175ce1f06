"""Window plans (docs/stages/evaluate.md), which score every target exactly once in texts of any length.

Target i is token i + 1, predicted from the inputs up to token i. A window over inputs [start, end) sees only those
tokens and scores the targets [score_start, end).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from golfpipe.scoring.config import EvaluateConfig


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


def batch_windows(windows: Iterator[Window], batch_tokens: int) -> Iterator[list[Window]]:
    """Yield runs of neighboring windows of equal shape: at most `batch_tokens` input tokens, or one window."""
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
