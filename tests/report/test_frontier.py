"""Laws of the frontier and of its knee, on any sizes and scores."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from golfpipe.report.frontier import SCALING_EXPONENT, knee_index, pareto_indices

POINTS = st.lists(
    st.tuples(st.integers(1, 10**8), st.floats(0.1, 20.0, allow_nan=False)), min_size=1, max_size=12, unique=True
)


def _price(point: tuple[float, float]) -> float:
    return math.log(point[1]) + SCALING_EXPONENT * math.log(point[0])


def _knee(points: list[tuple[float, float]]) -> tuple[float, float]:
    index = knee_index(points)
    assert index is not None
    return points[index]


def test_pareto_indices() -> None:
    points = [(10, 2.0), (20, 1.0), (20, 1.5), (5, None), (None, 0.1), (10, 2.0), (30, 1.0), (25, 0.9)]
    assert pareto_indices(points) == {0, 1, 5, 7}
    assert pareto_indices([]) == set()


@pytest.mark.parametrize("points", [[], [(None, 1.0), (5, None)]])
def test_nothing_known_has_no_knee(points: list[tuple[float | None, float | None]]) -> None:
    assert knee_index(points) is None


def test_the_knee_of_a_sweep_that_somebody_made() -> None:
    """Bits of the demo's MLP: 4 bits lose 0.0017 and save a tenth of the bytes; 3 bits lose 0.021 more for less."""
    demo = [(671_649, 1.7588), (653_432, 1.7592), (603_136, 1.7605), (554_538, 1.7818), (480_000, 3.36)]
    assert _knee(demo) == (603_136, 1.7605)


@given(POINTS)
def test_the_knee_lies_on_the_frontier_and_no_point_has_a_better_price(points: list[tuple[float, float]]) -> None:
    index = knee_index(points)
    assert index in pareto_indices(points)
    assert all(_price(points[index]) <= _price(point) + 1e-12 for point in points)


@given(POINTS)
def test_smaller_points_cost_more_than_their_bytes_are_worth(points: list[tuple[float, float]]) -> None:
    size, bpb = _knee(points)
    for other_size, other_bpb in points:
        if other_size < size:
            assert other_bpb / bpb >= (size / other_size) ** SCALING_EXPONENT * (1 - 1e-12)
        elif other_size > size:
            assert bpb / other_bpb <= (other_size / size) ** SCALING_EXPONENT * (1 + 1e-12)


@given(POINTS, st.tuples(st.integers(1, 10**8), st.floats(0.1, 20.0)))
def test_one_more_point_changes_the_knee_only_to_itself(
    points: list[tuple[float, float]], more: tuple[float, float]
) -> None:
    assert _knee([*points, more]) in (_knee(points), more)


@given(POINTS, st.randoms())
def test_neither_order_nor_units_matter(points: list[tuple[float, float]], random: object) -> None:
    mixed = list(points)
    random.shuffle(mixed)  # type: ignore[attr-defined]
    assert _knee(mixed) == _knee(points)
    scaled = [(8 * size, 2 * bpb) for size, bpb in points]
    assert _price(_knee(scaled)) == pytest.approx(min(map(_price, scaled)), abs=1e-12)
    assert _price((_knee(scaled)[0] / 8, _knee(scaled)[1] / 2)) == pytest.approx(_price(_knee(points)), abs=1e-12)


def test_of_equal_points_the_first_counts() -> None:
    assert knee_index([(9, 3.0), (5, 1.0), (5, 1.0)]) == 1
