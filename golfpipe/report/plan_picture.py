"""The picture of tried designs: seconds of training against bits per byte, a line for each design."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from golfpipe.report.canvas import PRINTED, render_png
from golfpipe.report.figures import series_color
from golfpipe.report.svg import INK, MUTED

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_HEIGHT, _KEY_LINE = 3.3, 0.18


@dataclass(frozen=True, kw_only=True)
class DesignLine:
    """A design in the picture."""

    label: str
    points: Sequence[tuple[float, float]]
    """Seconds of training and bits per byte on the half of the text that chooses, the shortest training first."""
    is_winner: bool
    reported: float | None = None
    """The score of the longest training on the other half."""
    is_estimate: bool = False
    error: float = 0.0
    """Of an estimate, its standard deviation."""


def plan_png(lines: Sequence[DesignLine]) -> bytes:
    """Return the picture as a PNG on white."""
    height = _HEIGHT + _KEY_LINE * len(lines)
    return render_png(partial(_draw, lines, lambda color: PRINTED.get(color, color)), height)


def _draw(lines: Sequence[DesignLine], color: Callable[[str], str], figure: Figure) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.ticker import FuncFormatter, NullFormatter

    axes = figure.subplots()
    axes.set_xscale("log")
    texts = []
    for number, line in enumerate(lines, start=1):
        seconds, bpb = zip(*line.points, strict=True)
        ink = color(series_color(1) if line.is_winner else MUTED if line.is_estimate else series_color(0))
        if line.is_estimate:
            axes.errorbar(
                seconds, bpb, yerr=line.error, color=ink, marker="o", ms=5, markerfacecolor="white", lw=0.9, ls=""
            )
        else:
            axes.plot(seconds, bpb, color=ink, lw=1.8 if line.is_winner else 1.1, marker="o", ms=5)
        axes.annotate(
            str(number), (seconds[-1], bpb[-1]), xytext=(-13 if line.is_estimate else 7, 2),
            textcoords="offset points", fontsize=7.5, color=color(INK),
        )  # fmt: skip
        if line.reported is not None:
            axes.plot(seconds[-1], line.reported, marker="*", ms=11, color=ink, markeredgewidth=0)
        note = " (winner; star: other half)" if line.is_winner else " (estimate)" if line.is_estimate else ""
        texts.append(f"{number}  {line.label}{note}")
    figure.legend(
        [Line2D([], [], ls="") for _ in lines], texts, loc="outside lower left", frameon=False,
        fontsize=7.5, handlelength=0, handletextpad=0, labelcolor=color(INK),
    )  # fmt: skip
    axes.margins(x=0.08, y=0.12)
    axes.set_title("bits per byte of the packed model (lower is better)")
    axes.set_xlabel("seconds of training", loc="right")
    ticks = sorted({round(second, 1) for line in lines for second, _ in line.points})
    axes.set_xticks([tick for tick, after in zip(ticks, [*ticks[1:], 1e99], strict=True) if after > 1.15 * tick])
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.3g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.tick_params(which="minor", size=0)
