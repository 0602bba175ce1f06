"""Draw with matplotlib's own defaults and without a screen. Neither a user's matplotlibrc nor MPLBACKEND changes or
stops a picture."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from golfpipe.report.svg import CARD, DEEP, INK, MUTED, RULE, SERIES, Width

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PNG_DPI = 200
PRINTED = {
    INK: "#191d1a", MUTED: "#7d857f", RULE: "#dcdbd3", CARD: "#ffffff", DEEP: "#101311", SERIES[0]: "#0072b2",
    SERIES[1]: "#d55e00", SERIES[2]: "#00875f",
}  # fmt: skip
"""The colors outside the page for the stand-in colors, to which the page gives one per scheme."""
_INCHES: dict[Width, float] = {"wide": 7.4, "narrow": 3.7}
_STYLE: dict[str, Any] = {
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


def render_svg(draw: Callable[[Figure], None], width: Width, height: float) -> str:
    """Return the SVG text of what `draw` draws, `height` inches high, in the stand-in colors of `svg`."""
    with _defaults(_STYLE):
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure

        figure = Figure(figsize=(_INCHES[width], height), layout="constrained")
        FigureCanvasSVG(figure)
        draw(figure)
        out = io.StringIO()
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return out.getvalue()


def render_png(draw: Callable[[Figure], None], height: float) -> bytes:
    """Return what `draw` draws, in the printed colors, as a PNG on white, 7.4 inches wide and `height` inches high."""
    style = {key: PRINTED.get(value, value) if isinstance(value, str) else value for key, value in _STYLE.items()}
    with _defaults(style):
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        figure = Figure(figsize=(_INCHES["wide"], height), layout="constrained", facecolor="white")
        FigureCanvasAgg(figure)
        draw(figure)
        out = io.BytesIO()
        figure.savefig(out, format="png", dpi=PNG_DPI, metadata={"Software": None})
    return out.getvalue()


@contextlib.contextmanager
def _defaults(style: Mapping[str, Any]) -> Iterator[None]:
    """Let only matplotlib's defaults and `style` hold inside the `with` block, whatever was set before."""
    matplotlib = _import_matplotlib()
    # rc_context does not restore the backend, and a figure with a canvas of its own needs none.
    defaults = {key: value for key, value in matplotlib.rcParamsDefault.items() if key != "backend"}
    with matplotlib.rc_context(defaults | dict(style)):
        yield


def _import_matplotlib() -> ModuleType:
    """Import matplotlib. If the user's settings stop the import, as a backend that does not exist and a file that is no
    UTF-8 do, import it without them."""
    try:
        import matplotlib
    except Exception:  # the settings can raise anything
        for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
            del sys.modules[name]  # these belong to the module that was not finished
        with _without_settings():
            import matplotlib
    return matplotlib


@contextlib.contextmanager
def _without_settings() -> Iterator[None]:
    """Hide MPLBACKEND and every matplotlibrc inside the `with` block, the one in the working folder included."""
    before = {name: os.environ.get(name) for name in ("MPLBACKEND", "MATPLOTLIBRC")}
    os.environ.pop("MPLBACKEND", None)
    os.environ["MATPLOTLIBRC"] = os.devnull
    try:
        with contextlib.chdir(Path(__file__).parent):
            yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
