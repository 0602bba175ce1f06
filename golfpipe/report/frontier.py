"""Size against score: the cells of a sweep that no other one beats, and the one of them to take."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

SCALING_EXPONENT = 0.076
"""What bytes are worth: the loss of a language model falls with its number of weights N as N^-0.076 (Kaplan et al.
2020, arXiv 2001.08361, equation 1.1), and bytes that are saved can hold more weights."""

Point = tuple[float | None, float | None]
"""Bytes and bits per byte; a point with a None takes no part."""


def pareto_indices(points: Sequence[Point]) -> set[int]:
    """Return the indices of the points that no other point dominates, by being better in size or score and not worse in
    the other; equal points are all kept."""
    best: set[int] = set()
    frontier: tuple[float, float] | None = None
    for size, bpb, index in sorted(_known(points)):
        if frontier is None or bpb < frontier[1] or (size, bpb) == frontier:
            frontier = (size, bpb)
            best.add(index)
    return best


def knee_index(points: Sequence[Point]) -> int | None:
    """Return the index of the knee: the point of the least bpb x bytes^0.076; None where no point has both.

    Every smaller point loses more than its saved bytes would be worth if they held weights (`SCALING_EXPONENT`), and no
    larger one gains what its bytes are worth. Of equal points it is the smallest one, and of those the first.
    """
    priced = [(bpb * size**SCALING_EXPONENT, size, index) for size, bpb, index in _known(points)]
    return min(priced)[2] if priced else None


def _known(points: Sequence[Point]) -> Iterator[tuple[float, float, int]]:
    for index, (size, bpb) in enumerate(points):
        if size is not None and bpb is not None:
            yield size, bpb, index
