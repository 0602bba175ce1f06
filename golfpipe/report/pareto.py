"""The picture of a sweep: bytes against bits per byte, with lines for the limit and for the unquantized weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from golfpipe.report.canvas import PRINTED, render_png, render_svg
from golfpipe.report.figures import series_color
from golfpipe.report.svg import INK, MUTED, Width
from golfpipe.report.sweep_points import SweepPoint, SweepPoints

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_NAMED = 12
"""The most of the best cells that get a name; all are in the table."""
_AXES = {"total_bytes": "bytes of weights and code", "train_seconds": "seconds of training, at equal bytes"}
_HEIGHT: dict[Width, float] = {"wide": 3.1, "narrow": 2.9}
_MOST_OF_HALF = 10.0
"""The most heights of the better half of the scores that the axis shows."""
_KEY_COLUMNS: dict[Width, int] = {"wide": 2, "narrow": 1}
_KEY_LINE = 0.18
"""The height of a line of the key, in inches."""


def pareto_figure(found: SweepPoints, width: Width) -> str:
    """Return the picture as SVG text for the page."""
    return render_svg(partial(_draw, found, width, lambda color: color), width, _height(found.points, width))


def pareto_png(found: SweepPoints) -> bytes:
    """Return the picture as a PNG that stands alone: 7.4 inches wide, on white."""
    draw = partial(_draw, found, "wide", lambda color: PRINTED.get(color, color))
    return render_png(draw, _height(found.points, "wide"))


def axis_top(scores: Sequence[float]) -> float:
    """Return the highest score that the axis shows, in bits per byte: all of them, or so many that the better half
    takes a tenth of the axis. One bad cell would otherwise press the others into a line."""
    ranked = sorted(set(scores))
    half = ranked[(len(ranked) - 1) // 2] - ranked[0]
    most = ranked[0] + _MOST_OF_HALF * half if half > 0 else ranked[-1]
    return max(score for score in ranked if score <= most)


def _draw(found: SweepPoints, width: Width, color: Callable[[str], str], figure: Figure) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axes: Axes = figure.subplots()
    best = sorted((point for point in found.points if point.pareto), key=_place)
    top = axis_top([*(point.val_bpb for point in found.points), *found.unquantized] or [1.0])
    _draw_cells(axes, found.points, best, top, color)
    for number, point in enumerate(best[:MOST_NAMED], start=1):
        if point.val_bpb <= top:
            axes.annotate(
                str(number), (point.x, point.val_bpb), xytext=(6, 6), textcoords="offset points",
                fontsize=7.5, color=color(INK),
            )  # fmt: skip
    _key(figure, best[:MOST_NAMED], width, color)
    axes.margins(x=0.12, y=0.14)
    _unquantized_lines(axes, found.unquantized, top, color)
    _set_height(axes, found, top)
    _off_axis(axes, [point for point in found.points if point.val_bpb > top], best, color)
    _limit_line(axes, found.points, found.limit, color)
    axes.set_title(
        "bits per byte" if width == "narrow" else "bits per byte (lower is better)"
    )  # the limit is beside it
    axes.set_xlabel(_AXES[found.axis], loc="right")
    axes.xaxis.set_major_locator(MaxNLocator(3 if width == "narrow" else 6, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.yaxis.set_major_locator(MaxNLocator(6))


def _place(point: SweepPoint) -> tuple[float, float]:
    return point.x, point.val_bpb


def _draw_cells(
    axes: Axes, points: Sequence[SweepPoint], best: Sequence[SweepPoint], top: float, color: Callable[[str], str]
) -> None:
    """Draw dominated cells as grey dots, the others as a blue line of steps with their noise, and a ring around the
    knee."""
    rest = [point for point in points if not point.pareto and point.val_bpb <= top]
    axes.plot(
        [p.x for p in rest], [p.val_bpb for p in rest], ls="", marker="o", ms=4.5,
        color=color(MUTED), alpha=0.55, markeredgewidth=0,
    )  # fmt: skip
    axes.plot(
        [p.x for p in best], [p.val_bpb for p in best], color=color(series_color(0)), lw=1.2, marker="o",
        ms=6.5, drawstyle="steps-post",
    )  # fmt: skip
    for point in best:
        if point.noise is not None:
            axes.plot([point.x] * 2, point.noise, color=color(INK), lw=0.9, marker="_", ms=6, zorder=3)
    for point in points:
        if point.knee:
            axes.plot(
                point.x, point.val_bpb, marker="o", ms=13, markerfacecolor="none", markeredgewidth=1.3,
                markeredgecolor=color(series_color(1)),
            )  # fmt: skip


def _key(figure: Figure, named: Sequence[SweepPoint], width: Width, color: Callable[[str], str]) -> None:
    from matplotlib.lines import Line2D

    texts = [f"{n}  {point.label}{' (knee)' if point.knee else ''}" for n, point in enumerate(named, start=1)]
    figure.legend(
        [Line2D([], [], ls="") for _ in named], texts, loc="outside lower left", ncols=_KEY_COLUMNS[width],
        frameon=False, fontsize=7.5, handlelength=0, handletextpad=0, labelcolor=color(INK),
    )  # fmt: skip


def _unquantized_lines(axes: Axes, scores: Sequence[float], top: float, color: Callable[[str], str]) -> None:
    for score in scores:
        if score <= top:
            axes.axhline(score, color=color(series_color(2)), lw=1.1, ls=(0, (1.2, 1.2)))
            axes.annotate(
                f"unquantized {score:.4f}", (0.0, score), xycoords=("axes fraction", "data"), xytext=(4, -9),
                textcoords="offset points", fontsize=7.5, color=color(series_color(2)),
            )  # fmt: skip


def _set_height(axes: Axes, found: SweepPoints, top: float) -> None:
    shown = [score for score in (*(p.val_bpb for p in found.points), *found.unquantized) if score <= top]
    shown += [end for p in found.points if p.pareto and p.noise is not None and p.val_bpb <= top for end in p.noise]
    low, high = min(shown, default=0.0), max(shown, default=1.0)
    margin = 0.14 * (high - low) or 0.01 * abs(high) or 1.0
    axes.set_ylim(low - margin, high + margin)


def _off_axis(
    axes: Axes, points: Sequence[SweepPoint], best: Sequence[SweepPoint], color: Callable[[str], str]
) -> None:
    """Mark cells above the axis with an arrow at its top, with the scores of those in the key."""
    named = best[:MOST_NAMED]
    for point in points:
        ink = color(series_color(0) if point.pareto else MUTED)
        axes.plot(
            point.x, 0.98, transform=axes.get_xaxis_transform(), marker="^", ms=6, color=ink,
            markeredgewidth=0,
        )  # fmt: skip
        if point in named:
            axes.annotate(
                f"{named.index(point) + 1}:  {point.val_bpb:.2f}", (point.x, 0.98),
                xycoords=("data", "axes fraction"), xytext=(0, -14), textcoords="offset points", fontsize=7.5,
                ha="center", color=color(INK),
            )  # fmt: skip


def _height(points: Sequence[SweepPoint], width: Width) -> float:
    """Return the height of the figure with its key, in inches."""
    named = min(MOST_NAMED, sum(point.pareto for point in points))
    return _HEIGHT[width] + _KEY_LINE * -(-named // _KEY_COLUMNS[width])


def _limit_line(axes: Axes, points: Sequence[SweepPoint], limit: int | None, color: Callable[[str], str]) -> None:
    """Draw a line at the limit, or only a note where it is so far off that the cells would become one dot."""
    if limit is None:
        return
    sizes = [point.x for point in points]
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
