"""Templates of files that somebody runs or renders. Every value in them is put in by that language's own quoting.

Names, versions and texts come from strangers. The quoting belongs to the kind of file, so no template can forget it.
"""

from __future__ import annotations

import functools
import re
import shlex
from collections.abc import Callable

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from golfpipe.units import format_bytes, format_count, format_seconds
from golfpipe.visible import visible, visible_line

_ESCAPES = str.maketrans({character: f"\\{character}" for character in "\\`*_[]<>|#&~$"})
_BLOCK_START = re.compile(r"([-+=]|\d{1,9}[.)])(?![\w.])", re.ASCII)
"""What begins a list, a line or a heading where it begins a paragraph."""
_BARE_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]*")


def markdown_text(value: object) -> Markup:
    """Return a value as text on one line, with nothing in it that Markdown or HTML acts on. Markup stays as it is."""
    if isinstance(value, Markup):
        return value
    text = visible(" ".join(str(value).split())).translate(_ESCAPES)
    start = _BLOCK_START.match(text)
    return Markup(f"{text[: start.end() - 1]}\\{text[start.end() - 1 :]}" if start is not None else text)


def markdown_code(text: str) -> Markup:
    """Return a code span without backticks and bars, which would end it or its table cell and cannot be escaped."""
    return Markup(f"`{visible(' '.join(text.split())).translate({ord('`'): None, ord('|'): None})}`")


def html_text(value: object) -> Markup:
    """Return a value as text of an HTML page or of a quoted attribute. Markup stays as it is."""
    return value if isinstance(value, Markup) else escape(visible(str(value)))


def python_literal(value: object) -> Markup:
    """Return a text, a number or a tuple of them as a Python literal. Raises TypeError for anything else."""
    if isinstance(value, Markup):
        return value
    for part in value if isinstance(value, tuple) else (value,):
        if not isinstance(part, str | int | float):
            raise TypeError(f"{type(part).__name__} has no literal")
    return Markup(repr(value))


def shell_words(value: object) -> Markup:
    """Return a text or a number as one word of a shell command, and a tuple of them as that many words."""
    if isinstance(value, Markup):
        return value
    return Markup(shlex.join(visible_line(str(part)) for part in (value if isinstance(value, tuple) else (value,))))


def bare_word(value: object) -> Markup:
    """Return a word that stands unquoted in a comment. Raises ValueError where it is more than a word."""
    if _BARE_WORD.fullmatch(str(value)) is None:
        raise ValueError(f"{str(value)[:100]!r} is not a word")
    return Markup(str(value))


_QUOTING: dict[str, Callable[[object], Markup]] = {
    "py": python_literal,
    "sh": shell_words,
    "md": markdown_text,
    "html": html_text,
}
"""How values are written, by the kind of file."""


def render(package: str, name: str, /, **values: object) -> str:
    """Return the text of a template in the folder `templates` of the package, with every value in it quoted as its kind
    of file (`NAME.py.j2`, `NAME.html`) demands.

    Templates have the filters `bytes`, `seconds`, `count`, `code` (a code span of Markdown) and `bare` (see
    `bare_word`); `safe` marks what needs no quoting.
    """
    kind = name.removesuffix(".j2").rpartition(".")[2]
    return _environment(package, kind).get_template(name).render(values)


@functools.cache
def _environment(package: str, kind: str) -> Environment:
    environment = Environment(
        loader=PackageLoader(package),
        # `finalize` makes Markup of every value, so that the engine's own escaping, which is for HTML, leaves it alone.
        autoescape=True,
        finalize=_QUOTING[kind],
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "bytes": format_bytes,
        "seconds": format_seconds,
        "count": format_count,
        "code": markdown_code,
        "bare": bare_word,
    }
    return environment
