"""An audit hook that notes what Python code opens, connects and starts (PEP 578)."""

from __future__ import annotations

import os
import sys
from typing import Any

_STARTS_PROCESS = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.forkpty", "pty.spawn")


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
