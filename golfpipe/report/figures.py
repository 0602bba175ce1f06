"""The report's figures: data in, SVG text out, always the same. Only this module and `pareto` import matplotlib."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from golfpipe.report.run_data import Curve
from golfpipe.report.svg import CARD, DEEP, INK, MUTED, RULE, SERIES, Width

INCHES: dict[Width, float] = {"wide": 7.4, "narrow": 3.7}
DASHES = ("-", (0, (4, 1.5)), (0, (1.2, 1.2)))
STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "golfpipe",
    "text.parse_math": False,
    "font.size": 8.5,
    "text.color": INK,
    "axes.edgecolor": RULE,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.labelcolor": MUTED,
    "axes.titlecolor": MUTED,
    "axes.titlesize": 8.5,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "figure.facecolor": "none",
    "grid.color": RULE,
    "grid.linewidth": 0.6,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
}


@dataclass(frozen=True, kw_only=True)
class TrainingPlot:
    """The curves of one run; those that are None were not logged."""

    train: Curve | None = None
    validation: Curve | None = None
    lr: Curve | None = None


@dataclass(frozen=True, kw_only=True)
class Rung:
    """One form of the model and its score."""

    label: str
    val_bpb: float
    eligible: bool
    series: int = 0
    """The number of the run."""


def series_color(index: int) -> str:
    return SERIES[index % len(SERIES)]


def training_figure(plots: Sequence[TrainingPlot], width: Width) -> str:
    """Draw the loss over steps, and the lr factor below. One run has its train and validation curves in two colors;
    several runs have a color each."""

    def draw(figure: Figure) -> None:
        has_lr = any(plot.lr for plot in plots)
        axes = figure.subplots(2, 1, sharex=True, height_ratios=(5, 1)) if has_lr else [figure.subplots()]
        loss: Axes = axes[0]
        alone = len(plots) == 1
        for index, plot in enumerate(plots):
            dash = DASHES[index // len(SERIES) % len(DASHES)]
            if plot.train:
                loss.plot(plot.train.x, plot.train.y, color=series_color(index), lw=0.6, alpha=0.35)
                loss.plot(plot.train.x, smooth(plot.train.y), color=series_color(index), lw=1.5, ls=dash)
            if plot.validation:
                color = series_color(1 if alone else index)
                loss.plot(
                    plot.validation.x, plot.validation.y, color=color, lw=1.2, marker="o", ms=3.6,
                    markerfacecolor=CARD, markeredgewidth=1.3, ls=dash if not alone else "-",
                )  # fmt: skip
            if plot.lr:
                axes[-1].plot(plot.lr.x, plot.lr.y, color=series_color(2 if alone else index), lw=1.3, ls=dash)
        loss.set_title("loss, nats per token")
        loss.set_ylim(*_loss_range(plots))
        if has_lr:
            axes[-1].set_title("learning-rate factor")
            axes[-1].set_ylim(0, 1.08)
            axes[-1].set_yticks([0, 1])
        axes[-1].set_xlabel("step", loc="right")
        axes[-1].xaxis.set_major_locator(MaxNLocator(5 if width == "narrow" else 9, integer=True))

    return render_svg(draw, width, 3.4 if width == "wide" else 3.1)


def ladder_figure(rungs: Sequence[Rung], width: Width) -> str:
    """Draw the bits per byte of each form of the model, one form a row. A hollow mark means not eligible."""

    def draw(figure: Figure) -> None:
        axes: Axes = figure.subplots()
        values = [rung.val_bpb for rung in rungs]
        reach = (max(values) - min(values)) or 0.02 * max(values) or 1.0
        left = min(values) - 0.12 * reach
        for row, rung in enumerate(rungs):
            color = series_color(rung.series)
            axes.plot([left, rung.val_bpb], [row, row], color=color, lw=1.6, solid_capstyle="butt")
            axes.plot(
                rung.val_bpb, row, marker="o", ms=7, color=color, markeredgewidth=1.6,
                markerfacecolor=color if rung.eligible else CARD,
            )  # fmt: skip
            axes.annotate(
                f"{rung.val_bpb:.4f}", (rung.val_bpb, row), xytext=(9, 0), textcoords="offset points",
                va="center", color=INK,
            )  # fmt: skip
        axes.set_xlim(left, max(values) + (0.16 if width == "wide" else 0.36) * reach)
        axes.set_yticks(range(len(rungs)), [rung.label for rung in rungs])
        axes.tick_params(axis="y", labelcolor=INK)
        axes.set_ylim(len(rungs) - 0.4, -0.6)
        axes.grid(visible=False, axis="y")
        axes.xaxis.set_major_locator(MaxNLocator(4 if width == "narrow" else 7))
        axes.set_xlabel("bits per byte (axis does not start at 0)", loc="right")

    return render_svg(draw, width, 0.75 + 0.36 * len(rungs))


def heat_map_figure(
    rows: Sequence[str],
    columns: Sequence[str],
    values: Sequence[Sequence[float | None]],
    scale: tuple[float, float],
    width: Width,
) -> str:
    """Draw relative squared errors in percent, colored on a log scale; None is an empty cell. `scale` holds the least
    and the largest error with a color of their own, the same for figures that are to be compared."""

    def draw(figure: Figure) -> None:
        axes: Axes = figure.subplots()
        low, high = scale
        span = math.log(high / low) or 1.0
        labeled = len(columns) <= (16 if width == "wide" else 6)
        for i, line in enumerate(values):
            for j, value in enumerate(line):
                if value is None:
                    continue
                # One hue over the page's own background: stronger is worse, in the light and the dark scheme alike.
                strength = 0.1 + 0.9 * math.log(min(max(value, low), high) / low) / span
                axes.fill_between(
                    [j - 0.48, j + 0.48], i - 0.45, i + 0.45, color=series_color(1), alpha=strength, lw=0
                )  # fmt: skip
                if labeled:
                    ink = DEEP if strength > 0.65 else INK
                    axes.text(j, i, _percent(value), ha="center", va="center", color=ink, fontsize=7.5)
        axes.set_xlim(-0.5, len(columns) - 0.5)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_yticks(range(len(rows)), rows)
        axes.tick_params(axis="y", labelcolor=INK)
        step = max(1, -(-len(columns) // (32 if width == "wide" else 8)))
        axes.set_xticks(range(0, len(columns), step), columns[::step])
        axes.set_xlabel("layer", loc="right")
        axes.grid(visible=False)
        axes.spines["bottom"].set_visible(False)

    return render_svg(draw, width, 0.6 + 0.32 * len(rows))


def adaptation_figure(curves: Sequence[Curve], width: Width) -> str:
    """Draw the training loss on the validation tokens over the epochs of test-time training."""

    def draw(figure: Figure) -> None:
        axes: Axes = figure.subplots()
        for index, curve in enumerate(curves):
            axes.plot(
                curve.x, curve.y, color=series_color(index), lw=1.5, marker="o", ms=3.6, markerfacecolor=CARD,
                markeredgewidth=1.3, ls=DASHES[index // len(SERIES) % len(DASHES)],
            )  # fmt: skip
        axes.set_title("loss on the validation tokens, nats per token")
        axes.xaxis.set_major_locator(MaxNLocator(6 if width == "narrow" else 12, integer=True))
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.set_xlabel("epoch", loc="right")

    return render_svg(draw, width, 2.3)


def smooth(values: Sequence[float]) -> list[float]:
    """Return the centered mean over about a thirtieth of the curve, narrower at the ends. It does not lag."""
    sums = [0.0]
    for value in values:
        sums.append(sums[-1] + value)
    reach = len(values) // 60
    smoothed = []
    for i in range(len(values)):
        half = min(reach, i, len(values) - 1 - i)
        smoothed.append((sums[i + half + 1] - sums[i - half]) / (2 * half + 1))
    return smoothed


def _loss_range(plots: Sequence[TrainingPlot]) -> tuple[float, float]:
    """Return the range of the loss axis, without the first losses, which would flatten all others."""
    values: list[float] = []
    for plot in plots:
        if plot.train:
            values += sorted(plot.train.y)[: max(2, math.ceil(0.97 * len(plot.train.y)))]
        if plot.validation:
            values += plot.validation.y
    if not values:
        return 0.0, 1.0
    low, high = min(values), max(values)
    margin = 0.06 * (high - low) or 0.1 * abs(high) or 1.0
    return low - margin, high + margin


def _percent(value: float) -> str:
    percent = 100 * value
    return f"{percent:.1f}" if percent >= 0.95 else f"{percent:.1g}" if percent >= 0.0005 else "0"


def render_svg(draw: Callable[[Figure], None], width: Width, height: float) -> str:
    """Return the SVG text of what `draw` draws, `height` inches high, in the stand-in colors of `svg`."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(INCHES[width], height), layout="constrained")
        FigureCanvasSVG(figure)
        draw(figure)
        out = io.StringIO()
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return out.getvalue()
