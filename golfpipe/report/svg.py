"""Make a figure's SVG part of a page: no outside references, no ids that clash, and colors that follow the page.

Figures are drawn in stand-in colors; here they become CSS variables, so that one drawing serves the light and the dark
scheme and print.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Literal, NamedTuple

from markupsafe import Markup

from golfpipe.reporter import failure_text

Width = Literal["wide", "narrow"]
"""wide: a desktop column or paper; narrow: a phone."""

INK = "#010203"
MUTED = "#010204"
RULE = "#010205"
CARD = "#010206"
DEEP = "#010207"
"""The color of text on strong color, dark in both schemes."""
SERIES = ("#010211", "#010212", "#010213", "#010214", "#010215", "#010216")
"""The colors of curves, in order; more curves repeat them with other dashes."""

_VARIABLES = {
    INK: "--ink", MUTED: "--muted", RULE: "--rule", CARD: "--card", DEEP: "--deep",
    **{color: f"--s{number}" for number, color in enumerate(SERIES, start=1)},
}  # fmt: skip
_REFERENCE = re.compile(r'(?:xlink:href="#|href="#|url\(#)([^")]+)')


class Picture(NamedTuple):
    """One drawing, as part of a page."""

    width: Width
    view_box: str
    content: Markup
    """What stands between the tags of the svg element: made by matplotlib, which escapes every text."""


class Drawing(NamedTuple):
    """A figure in two drawings, one for desktop and paper, one for phones."""

    title: str
    """What a screen reader says."""
    pictures: list[Picture]
    failure: str | None = None
    """Why there is no picture; None where there is one."""


def drawing(draw: Callable[[Width], str], *, name: str, title: str) -> Drawing:
    """Return what `draw` draws as SVG in both widths, or why it failed. `name` is unique on the page."""
    try:
        return Drawing(title, [_picture(draw(width), width, f"{name}-{width}") for width in ("wide", "narrow")])
    except Exception as error:  # a page without a picture is worth more than no page
        return Drawing(title, [], failure_text(error))


def _picture(text: str, width: Width, prefix: str) -> Picture:
    body = text[text.index("<svg") :]
    head_end = body.index(">")
    view = re.search(r'viewBox="([^"]+)"', body[:head_end])
    assert view is not None
    inner = body[head_end + 1 : body.rindex("</svg>")]
    inner = re.sub(r"<metadata>.*?</metadata>", "", inner, flags=re.DOTALL)
    inner = re.sub(r"<!--.*?-->", "", inner, flags=re.DOTALL)
    inner = _own_ids(inner, prefix).replace("xlink:href", "href")
    for color, variable in _VARIABLES.items():
        inner = inner.replace(color, f"var({variable})")
    return Picture(width, view.group(1), Markup(re.sub(r"\s*\n\s*", "\n", inner)))


def _own_ids(inner: str, prefix: str) -> str:
    """Keep only the ids that something refers to, and put the figure's prefix before them."""
    wanted = set(_REFERENCE.findall(inner))

    def keep(match: re.Match[str]) -> str:
        return f' id="{prefix}-{match.group(1)}"' if match.group(1) in wanted else ""

    inner = re.sub(r' id="([^"]+)"', keep, inner)
    return _REFERENCE.sub(
        lambda match: match.group(0).replace(f"#{match.group(1)}", f"#{prefix}-{match.group(1)}"), inner
    )
