"""What a process finds open when it starts, and an audit hook that notes what Python code opens, connects and starts
(PEP 578)."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

_HANDLES = Path("/proc/self/fd")
_STARTS_PROCESS = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.forkpty", "pty.spawn")


def inherited_handles() -> list[str]:
    """Return the open handles beyond input, output and errors, which a clean process does not have. Empty where the
    system does not list them."""
    found = []
    for number in sorted(int(name) for name in os.listdir(_HANDLES)) if _HANDLES.is_dir() else ():
        try:
            target = os.readlink(_HANDLES / str(number))
        except OSError:  # the handle of the listing itself
            continue
        if number > 2:
            found.append(f"inherited handle {number} of {target}")
    return found


class AuditHook:
    """Notes files that exist, sockets, and new processes, which it cannot follow. It cannot be removed again."""

    def __init__(self) -> None:
        self.files: list[str] = []
        self.sockets: list[str] = []
        sys.addaudithook(self._note)

    def _note(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path = arguments[0]
            if isinstance(path, str | bytes | os.PathLike):
                full = os.path.abspath(os.fsdecode(path))
                if os.path.exists(full):
                    self.files.append(full)
        elif event.startswith("socket."):
            self.sockets.append(event)
        elif event in _STARTS_PROCESS:
            self.sockets.append(f"starts a process ({event})")
