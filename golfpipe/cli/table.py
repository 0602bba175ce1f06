"""Plain aligned tables, which read the same on a terminal, in a log and in a pull request."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from golfpipe.cli.layout import Table, TableLine, table_lines
from golfpipe.units import format_bytes, format_seconds
from golfpipe.visible import visible_line


def format_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table with columns two spaces apart. Columns whose cells are all numbers (or empty) are
    aligned right. A terminal that is too narrow for it wraps its cells when it is printed."""
    header, rows = [visible_line(cell) for cell in header], [[visible_line(cell) for cell in row] for row in rows]
    columns = len(header) if header else len(rows[0]) if rows else 0
    table = Table(header, rows, [all(_is_number(row[i]) for row in rows) for i in range(columns)])
    return [TableLine.of(line, table) for line in table_lines(table)]


def paragraphs(*parts: Sequence[str]) -> list[str]:
    """Return the lines of all parts that have any, with an empty line between two parts."""
    lines: list[str] = []
    for part in parts:
        lines += ["", *part] if lines and part else part
    return lines


def shortened(text: str, width: int) -> str:
    """Return the text cut to `width` characters, with dots for what was cut in its middle."""
    half = (width - 3) // 2
    return text if len(text) <= width else f"{text[: width - 3 - half]}...{text[-half:]}"


def format_metric(name: str, value: Any) -> str:
    """Return a metric as people read it, with the unit that its name tells."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if name.endswith("_bytes") and isinstance(value, int):
        return format_bytes(value)
    if (name == "seconds" or name.endswith("_seconds")) and isinstance(value, int | float):
        return format_seconds(value)
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.6f}" if name.endswith(("_nats", "_bpb")) else f"{value:.6g}"
    return str(value)


def _is_number(cell: str) -> bool:
    return not cell or cell == "-" or cell.split(" ")[0].replace(",", "").replace(".", "").lstrip("-+").isdigit()
