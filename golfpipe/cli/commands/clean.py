"""`golfpipe clean FOLDER`"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from golfpipe.cli.answer import Answer
from golfpipe.cli.command import input_path
from golfpipe.cli.options import OutputOptions
from golfpipe.cli.table import format_table
from golfpipe.cli.terminal import print_message
from golfpipe.units import format_bytes


def clean(
    folder: Annotated[str, typer.Argument(metavar="FOLDER", help="A run, or one artifact to remove by name.")],
    options: OutputOptions,
    yes: Annotated[bool, typer.Option("-y", "--yes", help="Remove without asking.")] = False,
) -> Answer:
    """Remove what something newer has superseded, and leftovers of crashes, after showing them.

    Reads a run folder. Writes nothing, and removes only after a yes; where nobody can be asked, only with --yes. An
    artifact is superseded where the model that it came from was made again and is there, whole. A trained model, or the
    checkpoint of interrupted training, is removed only where it is named itself.

    \b
    Examples:
      golfpipe clean artifacts/demo
      golfpipe clean artifacts/demo --yes
    """
    from golfpipe.review.clean import find_removable, remove

    path = input_path(folder)
    items = find_removable(path)
    total = sum(item.bytes for item in items)
    listed = format_table([], [[str(item.path), format_bytes(item.bytes), item.why] for item in items])
    fields = {"removable": [{"path": str(item.path), "bytes": item.bytes, "why": item.why} for item in items]}
    if not items:
        return Answer(lines=[f"{path}: nothing to remove"], path=path, extra=fields | {"removed": False})
    agreed = yes
    if not yes and not options.json and sys.stdin.isatty():
        for line in listed:
            print_message(line)
        agreed = typer.confirm(f"remove these {len(items)}, {format_bytes(total)}?", err=True)
    if not agreed:
        hint = "nothing was removed" if sys.stdin.isatty() else "nothing was removed; --yes removes them"
        return Answer(lines=[*listed, hint], path=path, extra=fields | {"removed": False})
    freed = remove(items)
    return Answer(
        lines=[*listed, f"removed, {format_bytes(freed)} freed"],
        path=path,
        metrics={"freed_bytes": freed},
        extra=fields | {"removed": True},
    )
