"""Read strace's log (`-f -y`, calls that open files or sockets): what a traced process opened and connected."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

_WAYS = ("io_uring_setup", "open_by_handle_at", "pidfd_getfd", "process_vm_readv", "shmat", "mq_open")
"""Calls by which data can come in and no file be opened."""
_CALLS = ",".join(
    f"?{name}"
    for name in ("open", "openat", "openat2", "creat", "link", "linkat", "socket", "connect", "bind", "sendto", *_WAYS)
)
_LINE = re.compile(r"(?:\[pid +(\d+)\] |(\d+) +)?(.*)")
_RESUMED = re.compile(r"<\.\.\. \w+ resumed>")
_UNFINISHED = "<unfinished ...>"
_FOLDER = r"(?:(?:AT_FDCWD|\d+)(?:<([^>]*)>)?, )?"
_NAME = r'"((?:[^"\\]|\\.)*)"'
_OPENED = re.compile(rf"\b(?:open|openat2?|creat)\({_FOLDER}{_NAME}(.*)\) += \d+")
_LINKED = re.compile(rf"\blink(?:at)?\({_FOLDER}{_NAME}, {_FOLDER}{_NAME}.*\) += 0")
_SOCKET = re.compile(r"\bsocket\(((?:AF|PF)_\w+).*\) += \d+(?:<([^>]*)>)?")
_ADDRESS = re.compile(r'\b(?:connect|bind|sendto)\(\d+(?:<([^>]*)>)?.*sun_path=(@?)"((?:[^"\\]|\\.)*)"')
_WAY = re.compile(rf"\b({'|'.join(_WAYS)})\(.*\) += (?!-1)")
_LOCAL = ("AF_UNIX", "AF_LOCAL", "PF_UNIX", "PF_LOCAL")
_SYSTEM_SOCKETS = re.compile(
    r"(/var)?/run/(nscd/socket|systemd/userdb/.*|nvidia-persistenced/socket)|@cuda-uvmfd-.*|/dev/log"
)
"""Local sockets that system libraries ask for names of users, and drivers for the device."""


@dataclass(frozen=True, slots=True)
class Traced:
    """The absolute paths that were opened, apart from new files that the process itself made; and sockets, apart from
    those of the system, and other ways to data."""

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
    """Read the lines of a log. `folder` is the process's own new folder, in which it was started: relative paths refer
    to it, and a socket in it is one by which its own processes speak to each other."""
    files: dict[str, None] = {}
    own: set[str] = set()
    found: dict[str, None] = {}

    def path_of(start: str | None, name: str) -> str:
        return os.path.normpath(os.path.join(folder, _unescaped(start or ""), _unescaped(name)))

    unknown: dict[str, None] = {}  # local sockets of which it is not known with whom they speak
    for call in _whole_calls(lines):
        if (opened := _OPENED.search(call)) is not None:
            path = path_of(opened[1], opened[2])
            if "O_EXCL" in opened[3]:
                own.add(path)
            elif path not in own:
                files[path] = None
        elif (linked := _LINKED.search(call)) is not None:  # so the C library names a new semaphore in /dev/shm
            if path_of(linked[1], linked[2]) in own:
                own.add(path_of(linked[3], linked[4]))
        elif (socket := _SOCKET.search(call)) is not None:
            if socket[1] in _LOCAL:
                unknown[socket[2] or ""] = None
            else:
                found[socket[1]] = None
        elif (address := _ADDRESS.search(call)) is not None:
            name = address[2] + _unescaped(address[3])
            unknown.pop(address[1] or "", None)
            own_name = address[2] == "" and _below(os.path.join(folder, name), folder)
            if not own_name and _SYSTEM_SOCKETS.fullmatch(name) is None:
                found[f"AF_UNIX {name}"] = None
        elif (way := _WAY.search(call)) is not None:
            found[way[1]] = None
    if unknown:
        found["AF_UNIX"] = None
    return Traced(tuple(files), tuple(found))


def _below(path: str, folder: str) -> bool:
    return os.path.normpath(path).startswith(folder.rstrip("/") + "/")


def _whole_calls(lines: Iterable[str]) -> Iterator[str]:
    """Yield the calls that ended. One that others interrupted takes two lines: its beginning, and later, under the same
    process number, the rest."""
    begun: dict[str, str] = {}
    for line in lines:
        matched = _LINE.fullmatch(line.rstrip("\n"))
        if matched is None:
            continue
        process, text = matched[1] or matched[2] or "", matched[3].rstrip()
        if text.endswith(_UNFINISHED):
            begun[process] = text.removesuffix(_UNFINISHED).rstrip()
        elif (resumed := _RESUMED.match(text)) is not None:
            yield begun.pop(process, "") + text[resumed.end() :].lstrip()
        else:
            yield text


def _unescaped(text: str) -> str:
    """Decode a path: strace writes bytes outside ASCII as octal escapes."""
    raw = text.encode("latin-1", "replace")
    return os.fsdecode(re.sub(rb"\\([0-7]{1,3})", lambda m: bytes([int(m[1], 8) & 255]), raw))
