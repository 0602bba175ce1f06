"""The picture of a sweep: bytes against bits per byte, the limit as a line, dominated cells grey."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from golfpipe.report.canvas import PRINTED, render_png, render_svg
from golfpipe.report.figures import series_color
from golfpipe.report.svg import INK, MUTED, Width
from golfpipe.report.sweep_points import SweepPoint

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_NAMED = 12
"""The most of the best cells that get a name; all are in the table."""
_HEIGHT: dict[Width, float] = {"wide": 3.1, "narrow": 2.9}
_KEY_COLUMNS: dict[Width, int] = {"wide": 2, "narrow": 1}
_KEY_LINE = 0.18
"""The height of a line of the key, in inches."""


def pareto_figure(points: Sequence[SweepPoint], limit: int | None, width: Width) -> str:
    """Return the picture as SVG text for the page."""
    return render_svg(partial(_draw, points, limit, width, lambda color: color), width, _height(points, width))


def pareto_png(points: Sequence[SweepPoint], limit: int | None) -> bytes:
    """Return the picture as a PNG that stands alone: 7.4 inches wide, on white."""
    draw = partial(_draw, points, limit, "wide", lambda color: PRINTED.get(color, color))
    return render_png(draw, _height(points, "wide"))


def _draw(
    points: Sequence[SweepPoint], limit: int | None, width: Width, color: Callable[[str], str], figure: Figure
) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axes: Axes = figure.subplots()
    best = sorted((point for point in points if point.pareto), key=lambda point: (point.total_bytes, point.val_bpb))
    rest = [point for point in points if not point.pareto]
    axes.plot(
        [p.total_bytes for p in rest], [p.val_bpb for p in rest], ls="", marker="o", ms=4.5,
        color=color(MUTED), alpha=0.55, markeredgewidth=0,
    )  # fmt: skip
    axes.plot(
        [p.total_bytes for p in best], [p.val_bpb for p in best], color=color(series_color(0)), lw=1.2, marker="o",
        ms=6.5, drawstyle="steps-post",
    )  # fmt: skip
    named = best[:MOST_NAMED]
    for number, point in enumerate(named, start=1):
        axes.annotate(
            str(number), (point.total_bytes, point.val_bpb), xytext=(6, 6), textcoords="offset points",
            fontsize=7.5, color=color(INK),
        )  # fmt: skip
    figure.legend(
        [Line2D([], [], ls="") for _ in named], [f"{n}  {point.label}" for n, point in enumerate(named, start=1)],
        loc="outside lower left", ncols=_KEY_COLUMNS[width], frameon=False, fontsize=7.5, handlelength=0,
        handletextpad=0, labelcolor=color(INK),
    )  # fmt: skip
    _limit_line(axes, points, limit, color)
    axes.margins(x=0.12, y=0.14)
    axes.set_title(
        "bits per byte" if width == "narrow" else "bits per byte (lower is better)"
    )  # the limit is beside it
    axes.set_xlabel("bytes of weights and code", loc="right")
    axes.xaxis.set_major_locator(MaxNLocator(3 if width == "narrow" else 6, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.yaxis.set_major_locator(MaxNLocator(6))


def _height(points: Sequence[SweepPoint], width: Width) -> float:
    """Return the height of the figure with its key, in inches."""
    named = min(MOST_NAMED, sum(point.pareto for point in points))
    return _HEIGHT[width] + _KEY_LINE * -(-named // _KEY_COLUMNS[width])


def _limit_line(axes: Axes, points: Sequence[SweepPoint], limit: int | None, color: Callable[[str], str]) -> None:
    """Draw a line at the limit, or only a note where it is so far off that the cells would become one dot."""
    if limit is None:
        return
    sizes = [point.total_bytes for point in points]
    span = max(sizes) - min(sizes) or max(sizes)
    if min(sizes) - span <= limit <= max(sizes) + span:
        axes.axvline(limit, color=color(series_color(1)), lw=1.3, ls=(0, (4, 1.5)))
        axes.annotate(
            f"limit {limit:,}", (limit, 1.0), xycoords=("data", "axes fraction"), xytext=(-4, -10),
            textcoords="offset points", ha="right", fontsize=7.5, color=color(series_color(1)),
        )  # fmt: skip
        return
    side, place, align = ("right", 1.0, "right") if limit > max(sizes) else ("left", 0.0, "left")
    axes.annotate(
        f"limit {limit:,} lies off to the {side}", (place, 1.0), xycoords="axes fraction", xytext=(0, 3),
        textcoords="offset points", ha=align, fontsize=7.5, color=color(series_color(1)),
    )  # fmt: skip
