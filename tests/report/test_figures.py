"""Figures draw whatever they are given, the same way every time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from golfpipe.report.figures import (
    Rung,
    TrainingPlot,
    adaptation_figure,
    color_strength,
    heat_map_figure,
    ladder_figure,
    smooth,
    training_figure,
)
from golfpipe.report.run_data import Curve

FALLING = Curve(x=tuple(map(float, range(1, 101))), y=tuple(5 - 0.02 * n for n in range(100)))
POINT = Curve(x=(1.0,), y=(3.0,))


@pytest.mark.parametrize("width", ["wide", "narrow"])
@pytest.mark.parametrize("count", [1, 2, 8])
def test_training(width, count):
    plots = [TrainingPlot(train=FALLING, validation=POINT, lr=FALLING)] * count
    assert training_figure(plots, width) == training_figure(plots, width)


@pytest.mark.parametrize("plot", [TrainingPlot(), TrainingPlot(train=POINT), TrainingPlot(validation=POINT)])
def test_training_with_little_in_it(plot):
    assert "<svg" in training_figure([plot], "wide")


@pytest.mark.parametrize("values", [[2.6], [2.6, 2.6], [0.0], [2.6, 2.7, 2.5]])
def test_ladder(values):
    rungs = [Rung(label=f"$f_{n}$ \u2603 <b>", val_bpb=v, eligible=n % 2 == 0, series=n) for n, v in enumerate(values)]
    text = ladder_figure(rungs, "narrow")
    assert "<b>" not in text


@pytest.mark.parametrize("values", [[[None]], [[0.0]], [[0.01, 0.02, None]], [[0.5] * 40]])
def test_heat_map(values):
    assert "<svg" in heat_map_figure(["mlp"], [str(n) for n in range(len(values[0]))], values, (0.01, 0.1), "wide")


POSITIVE = st.floats(min_value=5e-324, max_value=1.7e308)


@given(ends=st.tuples(POSITIVE, POSITIVE).map(sorted), error=st.floats(min_value=0.0, max_value=1.7e308))
def test_the_strength_of_a_color_is_an_opacity_and_grows_with_the_error(ends, error):
    low, high = ends
    strength = color_strength(error, (low, high))
    assert 0.1 <= strength <= 1.0
    assert color_strength(low, (low, high)) <= strength <= color_strength(high, (low, high))


def test_adaptation():
    assert "<svg" in adaptation_figure([FALLING, POINT], "wide")


def test_smoothing_keeps_lines_straight_and_constants_constant():
    assert smooth(FALLING.y * 2)[:1] == [FALLING.y[0]]
    assert smooth([2.0] * 200) == pytest.approx([2.0] * 200)
    assert smooth([float(n) for n in range(200)]) == pytest.approx([float(n) for n in range(200)])
    assert smooth([]) == []
