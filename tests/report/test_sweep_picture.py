"""The picture of a sweep: one bad cell leaves room for the others, and nothing that a file may hold stops it."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from golfpipe.report.pareto import axis_top, pareto_figure, pareto_png
from golfpipe.report.sweep_points import SweepPoints, label, short_names, sweep_points

SCORES = st.lists(st.floats(0.5, 5.0, allow_nan=False), min_size=1, max_size=20)


def _row(bits: int, bpb: float, size: int, **more: Any) -> dict[str, Any]:
    return {"settings": {"quantize.mlp.bits": bits}, "val_bpb": bpb, "total_bytes": size, "pareto": True, **more}


@given(SCORES)
def test_the_better_half_has_a_tenth_of_the_axis_and_is_all_on_it(scores: list[float]) -> None:
    top, ranked = axis_top(scores), sorted(set(scores))
    half = ranked[(len(ranked) - 1) // 2]
    assert half <= top <= ranked[-1] and top in scores
    assert top - ranked[0] <= 10 * (half - ranked[0]) * (1 + 1e-12) or half == ranked[0]


@given(SCORES, st.floats(1e3, 1e6))
def test_a_worse_cell_flattens_nothing(scores: list[float], bad: float) -> None:
    known = sorted(set(scores))
    if len(known) >= 2:
        assert axis_top([*known, bad]) <= max(known)


def test_a_bad_cell_is_an_arrow_with_its_score() -> None:
    rows = [_row(5, 1.7588, 671_649), _row(4, 1.7605, 603_136, knee=True), _row(2, 3.3612, 480_000)]
    found = sweep_points([row | {"unquantized_bpb": 1.7579} for row in rows])
    for width in ("wide", "narrow"):
        text = "".join(re.findall(r">([^<]*)</text>", pareto_figure(found, width)))  # type: ignore[arg-type]
        assert "1:  3.36" in text and "unquantized 1.7579" in text and "mlp.bits 4 (knee)" in text
        assert "3.0" not in text  # no tick of the axis is up there
    assert pareto_png(found)[1:4] == b"PNG"


@pytest.mark.parametrize("unquantized", [[], [1.5], [1.5, 1.6]])
@pytest.mark.parametrize("scores", [[], [2.0], [2.0, 2.0], [0.0, 0.0]])
def test_few_cells_are_drawn(scores: list[float], unquantized: list[float]) -> None:
    points = sweep_points([_row(bits, bpb, 1000) for bits, bpb in enumerate(scores)]).points
    assert (
        pareto_png(SweepPoints(points=points, axis="total_bytes", limit=None, unquantized=unquantized))[1:4] == b"PNG"
    )


def test_names_are_short_where_they_stay_apart() -> None:
    assert short_names(["quantize.mlp.bits", "ttt.method", "evaluate.method", "seed"]) == {
        "quantize.mlp.bits": "mlp.bits", "ttt.method": "ttt.method", "evaluate.method": "evaluate.method",
        "seed": "seed",
    }  # fmt: skip
    assert label({"pack.coder": "range", "seed": 1}, ["pack.coder", "seed", "ttt.method"]) == "coder range, seed 1"
