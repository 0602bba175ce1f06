"""How far a training has come, from the log that it writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

_TAIL_BYTES = 10_000
"""The bytes at the end of a log that are read: some sixty steps."""


def last_step(log: Path) -> int | None:
    """Return the last step in the log; None where there is none."""
    for line in reversed(last_lines(log)):
        if isinstance(line.get("step"), int):
            return int(line["step"])
    return None


def last_lines(log: Path) -> list[dict[str, Any]]:
    """Return the lines at the end of the log that are whole; none where there is no log."""
    try:
        with log.open("rb") as stream:
            stream.seek(max(0, log.stat().st_size - _TAIL_BYTES))
            tail = stream.read().splitlines()
    except OSError:
        return []
    found = []
    for raw in tail:
        try:
            line = json.loads(raw)
        except ValueError:  # cut at its beginning, or still being written
            continue
        if isinstance(line, dict):
            found.append(line)
    return found
