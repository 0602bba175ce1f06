"""HTML built from elements. Text is escaped unless it was built here: artifacts come from strangers."""

from __future__ import annotations

import html


class Html(str):
    """Markup that is safe to put into a page as it is."""

    __slots__ = ()


Content = Html | str | int | None
_VOID = frozenset({"meta", "br", "col"})


def el(tag: str, *children: Content, **attributes: str | int | None) -> Html:
    """One element. `class_` stands for class, `data_x` for data-x; attributes that are None are left out."""
    written = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{html.escape(str(value), quote=True)}"'
        for name, value in attributes.items()
        if value is not None
    )
    if tag in _VOID:
        return Html(f"<{tag}{written}>")
    return Html(f"<{tag}{written}>{join(*children)}</{tag}>")


def join(*children: Content) -> Html:
    """Children one after the other; None is nothing."""
    return Html("".join(escape(child) for child in children if child is not None))


def escape(content: Html | str | int) -> str:
    """Escaped text; Html as it is."""
    return content if isinstance(content, Html) else html.escape(str(content), quote=True)


def table(
    header: list[Content],
    rows: list[list[Content]],
    *,
    numeric: frozenset[int] = frozenset(),
    fold: frozenset[int] = frozenset(),
    notes: list[str | None] | None = None,
) -> Html:
    """A table that scrolls by itself where the page is too narrow.

    `numeric`: columns set flush right; `fold`: columns that phones leave out; `notes`: a line below each row.
    """

    def cells(tag: str, row: list[Content]) -> list[Html]:
        scope = {"scope": "col"} if tag == "th" else {}
        return [el(tag, cell, class_=_classes(n=i in numeric, fold=i in fold), **scope) for i, cell in enumerate(row)]

    written = []
    for index, row in enumerate(rows):
        note = notes[index] if notes else None
        written.append(el("tr", *cells("td", row), class_="noted" if note else None))
        if note:
            written.append(el("tr", el("td", note, colspan=len(header)), class_="below"))
    return el("div", el("table", el("thead", el("tr", *cells("th", header))), el("tbody", *written)), class_="scroll")


def _classes(**chosen: bool) -> str | None:
    return " ".join(name for name, on in chosen.items() if on) or None
