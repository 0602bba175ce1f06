"""The options of the commands that put a scoring method on trial."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from golfpipe.cli.options import Device
from golfpipe.errors import UsageError

if TYPE_CHECKING:
    from golfpipe.submission.trial.room import Room

_PANEL = "Trial"

RoomDevice = Annotated[
    Device, typer.Option("--device", help="Device: auto takes cuda, then mps, then cpu.", rich_help_panel=_PANEL)
]
RoomThreads = Annotated[int | None, typer.Option("--threads", min=1, help="CPU threads.", rich_help_panel=_PANEL)]
RoomTargets = Annotated[
    str | None,
    typer.Option(
        "--targets",
        metavar="N|all",
        help="Length of the text; default what the method needs.",
        rich_help_panel=_PANEL,
    ),
]
RoomSeconds = Annotated[
    float | None, typer.Option("--seconds", min=1, help="Stop after so long; default 2 h.", rich_help_panel=_PANEL)
]


def room_of(device: Device, threads: int | None, targets: str | None, seconds: float | None) -> Room:
    """Return where and on how much a method is tried. Raises UsageError."""
    from golfpipe.submission.trial.room import TIME_LIMIT_SECONDS, Room

    return Room(
        device=device.value,
        threads=threads,
        targets=_parse_targets(targets) if targets is not None else None,
        seconds=seconds or TIME_LIMIT_SECONDS,
    )


def _parse_targets(text: str) -> int:
    """Return the number of targets, 0 for `all`. Raises UsageError."""
    if text == "all":
        return 0
    if not text.isascii() or not text.isdigit() or len(text) > 12 or int(text) < 1:
        raise UsageError(f"--targets {text[:40]!r}: expected a number of at least 1, or all")
    return int(text)
