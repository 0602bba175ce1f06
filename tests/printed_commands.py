"""The golfpipe commands in a text, and whether the command line's own parser takes them."""

from __future__ import annotations

import re
import shlex
from typing import Any

from golfpipe.cli.app import PIPELINE_ORDER
from golfpipe.cli.app import command as all_commands

_FIRST = "|".join(sorted(name.partition(" ")[0] for name in PIPELINE_ORDER))
_BARE = re.compile(rf"golfpipe (?:{_FIRST})\b[^\n]*")


def commands_in(text: str) -> list[str]:
    """Every command line of golfpipe in the text: in backquotes, or from `golfpipe COMMAND` to the end of the line or
    to a semicolon; lines of several commands are taken apart at `&&`."""
    quoted = re.findall(r"`(golfpipe [^`]*)`", text)
    bare = [line.split(";")[0] for line in _BARE.findall(re.sub(r"`[^`]*`", "", text))]
    return [part.strip() for line in (*quoted, *bare) for part in line.split("&&")]


def parse(command: str) -> None:
    """Parse the command as `main` would, without running it. Raises typer's own error where it does not parse.

    One that is named in prose, alone or with an option (`golfpipe audit --execute`), must have that name and option."""
    words = shlex.split(re.sub(r"\$\(golfpipe [^)]*\)", "1", command), comments=True)
    assert words[0] == "golfpipe", command
    _parse(all_commands(), words)


def _parse(command: Any, words: list[str], parent: Any = None) -> None:
    if hasattr(command, "resolve_command"):
        if words[1:] and not words[1].startswith("-"):
            context = command.context_class(command, info_name=words[0], parent=parent)
            name, below, rest = command.resolve_command(context, words[1:])
            _parse(below, [str(name), *rest], context)
        return
    flags = ["--help", *(flag for parameter in command.params for flag in parameter.opts)]
    if not set(words[1:]) <= set(flags):
        command.make_context(words[0], words[1:], parent=parent)
