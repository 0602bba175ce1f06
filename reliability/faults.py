"""A file layer that fails on request: every call that changes the disk below one folder is a numbered point.

Patched are Python's own primitives, so that the code under test runs as it is: opening for writing, writing, syncing,
renaming, linking, truncating, making and removing. Nothing below `golfpipe` writes past Python.
"""

from __future__ import annotations

import builtins
import io
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
CHANGES = ("replace", "rename", "link", "unlink", "remove", "mkdir", "rmdir", "truncate", "utime")
"""Functions of os whose first argument is the path; of replace, rename and link the second is the new one."""


@dataclass(frozen=True)
class Point:
    """One call that is about to change the disk."""

    number: int
    call: str
    path: str

    def __str__(self) -> str:
        return f"{self.number}: {self.call} {self.path}"


@dataclass
class Disk:
    """What happens at each point, and how much of each file is known to be on the disk itself."""

    root: Path
    act: Callable[[Point], bool]
    """Called before the change. Returns whether to write the half of it and call `act` again; may raise or kill."""
    points: list[Point] = field(default_factory=list)
    synced: dict[str, int] = field(default_factory=dict)
    """Path -> bytes that a power cut leaves at least, of files with more than that."""

    def point(self, call: str, path: str, half: Callable[[], object] | None = None) -> None:
        if not path.startswith(str(self.root)):
            return
        point = Point(len(self.points), call, path.removeprefix(str(self.root) + "/"))
        self.points.append(point)
        if self.act(point) and half is not None:
            half()
            self.act(point)

    def cut_power(self) -> None:
        """Cut every file back to what was synced of it, as a power failure may, and die."""
        for path, size in self.synced.items():
            if os.path.exists(path) and os.path.getsize(path) > size:
                _os_truncate(path, size)
        os.kill(os.getpid(), signal.SIGKILL)

    def moved(self, old: str, new: str) -> None:
        self.synced.pop(new, None)
        for path in [path for path in self.synced if path == old or path.startswith(old + "/")]:
            self.synced[new + path.removeprefix(old)] = self.synced.pop(path)


_os_truncate = os.truncate


@contextmanager
def faulty_disk(root: Path, act: Callable[[Point], bool]) -> Iterator[Disk]:
    """Within: changes below `root` are points of the disk that is returned."""
    disk = Disk(root.resolve(), act)
    patches = [
        mock.patch.object(io, "open", _opening(disk, io.open)),
        mock.patch.object(builtins, "open", _opening(disk, builtins.open)),
        mock.patch.object(os, "open", _os_opening(disk, os.open)),
        mock.patch.object(os, "fsync", _syncing(disk, os.fsync)),
        *(mock.patch.object(os, name, _changing(disk, name, getattr(os, name))) for name in CHANGES),
    ]
    for patch in patches:
        patch.start()
    try:
        yield disk
    finally:
        for patch in patches:
            patch.stop()


class _File(io.FileIO):
    """A file opened for writing, whose writes are points."""

    def __init__(self, path: str, mode: str, disk: Disk) -> None:
        super().__init__(path, mode)
        self._path, self._disk = path, disk

    def write(self, data: Any) -> int:
        content = bytes(data)
        self._disk.point("write", self._path, lambda: super(_File, self).write(content[: len(content) // 2]))
        return super().write(content)

    def truncate(self, size: int | None = None) -> int:
        self._disk.point("truncate", self._path)
        return super().truncate(size)


def _opening(disk: Disk, original: Any) -> Any:
    def opened(file: Any, mode: str = "r", buffering: int = -1, encoding: Any = None, *rest: Any, **more: Any) -> Any:
        path = _absolute(file)
        if path is None or not set(mode) & set("wax+") or not path.startswith(str(disk.root)):
            return original(file, mode, buffering, encoding, *rest, **more)
        disk.point("open", path)
        if "w" in mode or not os.path.exists(path):
            disk.synced[path] = 0
        else:
            disk.synced.setdefault(path, os.path.getsize(path))
        raw = _File(path, mode.replace("b", "").replace("t", ""), disk)
        if buffering == 0:
            return raw
        buffered = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
        return buffered if "b" in mode else io.TextIOWrapper(buffered, encoding or "utf-8", newline="\n")

    return opened


def _os_opening(disk: Disk, original: Any) -> Any:
    def opened(path: Any, flags: int, *rest: Any, **more: Any) -> int:
        absolute = _absolute(path)
        if absolute is not None and flags & WRITES and not more.get("dir_fd"):
            disk.point("open", absolute)
        return original(path, flags, *rest, **more)

    return opened


def _syncing(disk: Disk, original: Any) -> Any:
    def sync(descriptor: int) -> None:
        path = os.readlink(f"/proc/self/fd/{descriptor}")
        disk.point("fsync", path)
        original(descriptor)
        if path in disk.synced:
            disk.synced[path] = os.path.getsize(path)

    return sync


def _changing(disk: Disk, name: str, original: Any) -> Any:
    def change(path: Any, *rest: Any, **more: Any) -> Any:
        folder = os.readlink(f"/proc/self/fd/{more['dir_fd']}") if more.get("dir_fd") is not None else None
        absolute = _absolute(path, folder)
        if absolute is not None:
            disk.point(name, absolute)
        done = original(path, *rest, **more)
        if name in ("replace", "rename") and absolute is not None:
            disk.moved(absolute, _absolute(rest[0]) or "")
        return done

    return change


def _absolute(path: Any, folder: str | None = None) -> str | None:
    """None for a descriptor."""
    if isinstance(path, int):
        return None
    return os.path.join(folder or os.getcwd(), os.fspath(path))
