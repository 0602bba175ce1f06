"""Markdown from templates: whatever is put into one is escaped there, since names and texts come from strangers."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from golfpipe.units import format_bytes, format_seconds

_ESCAPES = str.maketrans({character: f"\\{character}" for character in "\\`*_[]<>|#&~$"})


def escaped(value: object) -> Markup:
    """Return a value as text on one line, with nothing in it that Markdown or HTML acts on. Markup stays as it is."""
    return value if isinstance(value, Markup) else Markup(" ".join(str(value).split()).translate(_ESCAPES))


def code(text: str) -> Markup:
    """Return a code span without backticks and bars, which would end it or its table cell and cannot be escaped."""
    return Markup(f"`{' '.join(text.split()).translate({ord('`'): None, ord('|'): None})}`")


def render_markdown(package: str, name: str, **values: object) -> str:
    """Return the text of a template in the folder `templates` of the package, with every value in it escaped.

    Templates have the filters `bytes`, `seconds` and `code`; `safe` marks what is Markdown already.
    """
    environment = Environment(
        loader=PackageLoader(package),
        # `finalize` makes Markup of every value, so that the engine's own escaping, which is for HTML, leaves it alone.
        autoescape=True,
        finalize=escaped,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"bytes": format_bytes, "seconds": format_seconds, "code": code}
    return environment.get_template(name).render(values)
