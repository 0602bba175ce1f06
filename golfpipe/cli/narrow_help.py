"""The help of a command where the terminal is too narrow for boxes, which would cut its words: a plain list."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import typer.core

from golfpipe.cli.layout import DEFAULT_WIDTH, Table, TableLine, fitted, paragraph, terminal_width
from golfpipe.cli.terminal import print_lines

NARROW = 60
"""Below so many columns the help is a plain list."""
_LONGEST = 1000
"""More characters than the first sentence of any help has."""


class _NarrowHelp:
    """Writes the help of a command or group as a list where the terminal is narrow."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        width = terminal_width(sys.stdout) or DEFAULT_WIDTH
        if width >= NARROW:
            from typer import rich_utils

            rich_utils.MAX_WIDTH = width  # it would take the width of any terminal, were it that of stdin
            super().format_help(ctx, formatter)  # type: ignore[misc]  # of the class that this is mixed into
        else:
            print_lines(_help_lines(self, ctx, width))  # as the wide form is printed, and not returned


class HelpfulCommand(_NarrowHelp, typer.core.TyperCommand):
    """A command whose help fits any terminal."""


class HelpfulGroup(_NarrowHelp, typer.core.TyperGroup):
    """A group of commands whose help fits any terminal."""


def _help_lines(command: Any, ctx: Any, width: int) -> Iterator[str]:
    yield from paragraph(command.get_usage(ctx), width, hanging="  ")
    for text in (command.help or "").split("\n\n"):
        yield ""
        if text.startswith("\b"):
            for line in text.splitlines()[1:]:
                yield line if line.startswith("  golfpipe ") else line.strip()
        else:
            yield from paragraph(text, width)
    records = [record for each in command.get_params(ctx) if (record := each.get_help_record(ctx)) is not None]
    yield from _listed("Arguments and options", records, width)
    if isinstance(command, typer.core.TyperGroup):
        names = [(name, command.get_command(ctx, name)) for name in command.list_commands(ctx)]
        rows = [(name, each.get_short_help_str(_LONGEST)) for name, each in names if each]
        yield from _listed("Commands", rows, width)


def _listed(title: str, rows: list[Any], width: int) -> Iterator[str]:
    table = Table([], [[f"  {' '.join(name.split())}", " ".join(text.split())] for name, text in rows], [False, False])
    yield from ("", f"{title}:", *fitted([TableLine.of("", table)], width))
