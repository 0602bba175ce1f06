"""The frame of a section, and the pieces that several sections use."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from golfpipe.report.figures import Width
from golfpipe.report.markup import Content, Html, el
from golfpipe.report.svg import inline

MISSING = el("span", "\u2013", class_="none")
"""An en dash where there is no number."""


def section(title: str, about: str, *body: Content) -> Html:
    """A heading with a sentence beside the content it explains."""
    return el(
        "section",
        el("header", el("h2", title), el("p", about) if about else None),
        el("div", *body, class_="body"),
    )


def drawing(draw: Callable[[Width], str], *, name: str, title: str, caption: str = "") -> Html:
    """A figure in two drawings, one for desktop and paper, one for phones. `name` is unique on the page."""
    pictures = [
        inline(draw(width), prefix=f"{name}-{width}", title=title, class_=width) for width in ("wide", "narrow")
    ]
    return el("figure", *pictures, el("figcaption", caption) if caption else None)


def legend(entries: Sequence[tuple[str, int]]) -> Html:
    """Names of curves and the numbers of their colors."""
    items = [el("li", el("i", style=f"border-color:var(--s{color % 6 + 1})"), name) for name, color in entries]
    return el("ul", *items, class_="legend")


def or_missing(value: object, pattern: str = "{}") -> Content:
    """A number in its pattern, or the dash."""
    return MISSING if value is None else pattern.format(value)
