"""Read strace's log (`-f -y`, calls that open files or sockets): what a traced process opened and connected."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_CALLS = "open,openat,openat2,creat,socket,connect"
_OPENED = re.compile(
    r'\b(?:open|openat2?|creat)\((?:AT_FDCWD(?:<[^>]*>)?, |(\d+)<([^>]*)>, )?"((?:[^"\\]|\\.)*)".*\) = \d+'
)
_SOCKET = re.compile(r"\bsocket\(((?:AF|PF)_\w+)")
_LOCAL = ("AF_UNIX", "AF_LOCAL", "PF_UNIX", "PF_LOCAL")


@dataclass(frozen=True, slots=True)
class Traced:
    """The absolute paths that were opened, and sockets other than local ones."""

    files: tuple[str, ...]
    sockets: tuple[str, ...]


def strace_command(log: Path) -> list[str] | None:
    """Return the words to put before a command; None where strace cannot trace, as in containers."""
    program = shutil.which("strace")
    if program is None:
        return None
    for more in (["--seccomp-bpf"], []):  # the first way is far faster, but newer
        words = [program, "-f", "-y", *more, "-qq", "-s", "4096", "-e", f"trace={_CALLS}", "-e", "signal=none"]
        with tempfile.TemporaryDirectory() as folder:
            try:
                tried = subprocess.run(
                    [*words, "-o", f"{folder}/log", "true"], capture_output=True, timeout=20, check=False
                )
            except (OSError, subprocess.SubprocessError):
                continue
            if tried.returncode == 0 and Path(folder, "log").is_file():
                return [*words, "-o", str(log)]
    return None


def parse_strace(lines: Iterable[str], folder: str) -> Traced:
    """Read the lines of a log. `folder` is where the process was started, to which relative paths refer."""
    files: dict[str, None] = {}
    sockets: dict[str, None] = {}
    for line in lines:
        opened = _OPENED.search(line)
        if opened is not None:
            name = _unescaped(opened[3])
            files[os.path.normpath(os.path.join(folder, opened[2] or "", name))] = None
            continue
        socket = _SOCKET.search(line)
        if socket is not None and socket[1] not in _LOCAL:
            sockets[socket[1]] = None
    return Traced(tuple(files), tuple(sockets))


def _unescaped(text: str) -> str:
    """Decode a path: strace writes bytes outside ASCII as octal escapes."""
    raw = text.encode("latin-1", "replace")
    return os.fsdecode(re.sub(rb"\\([0-7]{1,3})", lambda m: bytes([int(m[1], 8) & 255]), raw))
