"""Text and tables laid out for the width of a terminal: wrapped at words, with what people copy left whole.

Into a file or a pipe every line goes as it is, for other programs to read.
"""

from __future__ import annotations

import os
import re
import shutil
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TextIO

DEFAULT_WIDTH = 80
NARROWEST_COLUMN = 16
"""The least characters to which a column of words is wrapped. A table that needs less is shown row by row."""
_WHOLE = re.compile(r"`[^`]*`|golfpipe (?:[a-z]|-)[^\n;]*? && golfpipe [^\n]*|(?<=: )golfpipe [a-z][^\n;]*|\S+")
"""What is never broken: words, a path among them; a command in backquotes, or after a colon to the end of the line."""


@dataclass(frozen=True)
class Table:
    """The cells of a table. `right` tells which columns are numbers, and so are aligned right."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    right: Sequence[bool]


class TableLine(str):
    """A line of a table that still knows it, so that a narrow terminal can lay the table out again."""

    table: Table

    @classmethod
    def of(cls, text: str, table: Table) -> TableLine:
        line = cls(text)
        line.table = table
        return line


def terminal_width(stream: TextIO) -> int | None:
    """Return the number of columns of the terminal that the stream is; None where it is none."""
    try:
        if not stream.isatty():
            return None
        return os.get_terminal_size(stream.fileno()).columns or DEFAULT_WIDTH
    except (OSError, ValueError):  # a stream without a number, or closed
        return shutil.get_terminal_size((DEFAULT_WIDTH, 24)).columns


def fitted(lines: Iterable[str], width: int) -> list[str]:
    """Return the lines of an answer, none wider than `width` but for words that must stay whole."""
    laid: list[str] = []
    for table, group in groupby(lines, key=lambda line: line.table if isinstance(line, TableLine) else None):
        if table is None:
            laid += (part for line in group for part in wrapped(line, width))
        else:
            laid += table_lines(table, width)
    return laid


def wrapped(text: str, width: int, hanging: str | None = None) -> list[str]:
    """Return one line as several, broken at spaces. Further lines begin below the text of the line's last column, or
    two spaces further in than the line, or with `hanging`. A command has a line of its own where it does not fit, and
    is never broken."""
    if len(text) <= width:
        return [text]
    start = _indent(text)
    gap = re.match(r"\s*\S.*  (?=\S)", text)
    if hanging is None and gap is not None and gap.end() + NARROWEST_COLUMN <= width:
        hanging = " " * gap.end()
    elif hanging is None:
        hanging = f"{start}  "
        if gap is not None and gap.end() <= width:
            return [*wrapped(text[: gap.end()].rstrip(), width), *wrapped(hanging + text[gap.end() :], width)]
    lines, line = [], start
    for found in re.finditer(rf"(\s*)({_WHOLE.pattern})", text[len(start) :]):
        space, word = found.groups()
        if line.strip() and len(line) + len(space) + len(word) > width:
            lines.append(line.rstrip())
            line = hanging + word
        else:
            line += (space if line.strip() else "") + word
    return [*lines, line]


def table_lines(table: Table, width: int | None = None) -> list[str]:
    """Return the lines of the table with columns two spaces apart: as they are where that fits or no width is given,
    else with columns of words wrapped, else row by row."""
    natural = _natural_widths(table)
    if width is None or sum(natural) + 2 * (len(natural) - 1) <= width:
        return list(_in_columns(table, natural))
    widths = _narrowed(table, natural, width)
    return list(_in_columns(table, widths)) if widths is not None else list(_row_by_row(table, width))


def _all_rows(table: Table) -> list[Sequence[str]]:
    return [table.header, *table.rows] if table.header else list(table.rows)


def _natural_widths(table: Table) -> list[int]:
    return [max(map(len, column)) for column in zip(*_all_rows(table), strict=True)]


def _narrowed(table: Table, natural: Sequence[int], width: int) -> list[int] | None:
    """Return the widths of columns that fit, the widest column of words taking less first; None where none do."""
    words = [
        max((len(_indent(cell)) + len(word) for cell in column for word in _WHOLE.findall(cell)), default=0)
        for column in zip(*_all_rows(table), strict=True)
    ]
    least = [
        full if right else max(longest, min(full, NARROWEST_COLUMN))
        for full, longest, right in zip(natural, words, table.right, strict=True)
    ]
    widths = list(natural)
    for _ in range(sum(natural)):
        if sum(widths) + 2 * (len(widths) - 1) <= width:
            return widths
        can_shrink = [place for place in range(len(widths)) if widths[place] > least[place]]
        if not can_shrink:
            return None
        widths[max(can_shrink, key=lambda place: widths[place])] -= 1
    return None


def _in_columns(table: Table, widths: Sequence[int]) -> Iterator[str]:
    for row in _all_rows(table):
        cells = [wrapped(cell, width, _indent(cell)) for cell, width in zip(row, widths, strict=True)]
        for number in range(max(map(len, cells))):
            parts = [cell[number] if number < len(cell) else "" for cell in cells]
            padded = (
                part.rjust(width) if right else part.ljust(width)
                for part, width, right in zip(parts, widths, table.right, strict=True)
            )
            yield "  ".join(padded).rstrip()


def _row_by_row(table: Table, width: int) -> Iterator[str]:
    """Yield each row as its first cell and, below it, a line for every other one that holds something."""
    names = table.header or [""] * len(table.right)
    wide = max(map(len, names[1:]), default=0)
    for row in table.rows:
        indent = f"{_indent(row[0])}  "
        yield from wrapped(row[0], width)
        for name, cell in zip(names[1:], row[1:], strict=True):
            if cell.strip() not in ("", "-"):
                start = f"{indent}{name.ljust(wide)}{'  ' if wide else ''}"
                yield from wrapped(f"{start}{cell.strip()}", width, " " * min(len(start), width // 2))


def _indent(cell: str) -> str:
    return " " * (len(cell) - len(cell.lstrip()))


def text_width(stream: TextIO, most: int = DEFAULT_WIDTH) -> int:
    """Return the width to which a command wraps its prose: that of the terminal (80 elsewhere), but at most `most`."""
    return min(most, terminal_width(stream) or DEFAULT_WIDTH)


def paragraph(text: str, width: int, indent: str = "", hanging: str | None = None) -> list[str]:
    """Return prose as lines of at most `width` characters, words left whole."""
    return textwrap.wrap(
        text,
        width,
        initial_indent=indent,
        subsequent_indent=hanging if hanging is not None else indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
