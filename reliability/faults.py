"""A file layer that fails on request: every call that changes the disk below one folder is a numbered point.

Patched are Python's own primitives, so that the code under test runs as it is: opening for writing, writing, syncing,
renaming, linking, truncating, making and removing. Nothing below `golfpipe` writes past Python.

A power cut takes what no sync has made durable: bytes until the file is synced, and every change of a folder's entries
(made, renamed, linked, removed) until that folder is synced.
"""

from __future__ import annotations

import builtins
import io
import os
import shutil
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
class EntryChange:
    """A change of the entry `path` of a folder, which is not durable before the folder is synced."""

    path: str
    moved_from: str | None = None
    """Where the entry was; None where it was made or removed."""
    file_before: bytes | None = None
    """Content of the file that was there, as far as it was synced."""
    folder_before: bool = False
    renamed: list[tuple[EntryChange, str, str | None]] = field(default_factory=list)
    """Earlier changes that this one, of a folder, gave other paths; with their paths before."""

    def follow(self, old: str, new: str) -> tuple[str, str | None]:
        """Return `path` and `moved_from` after `old` was renamed to `new`. A name that nothing has any more stays."""
        is_removal = self.moved_from is None and (self.file_before is not None or self.folder_before)
        path = new if self.path == old and not is_removal else _below(self.path, old, new)
        return path, _below(self.moved_from, old, new) if self.moved_from is not None else None


def _below(path: str, old: str, new: str) -> str:
    return new + path.removeprefix(old) if path.startswith(old + "/") else path


@dataclass
class Disk:
    """What happens at each point, and what of it is known to be on the disk itself."""

    root: Path
    act: Callable[[Point], bool]
    """Called before the change. Returns whether to write the half of it and call `act` again; may raise or kill."""
    points: list[Point] = field(default_factory=list)
    synced: dict[str, int] = field(default_factory=dict)
    """Path -> bytes that a power cut leaves at least, of files with more than that."""
    changes: list[EntryChange] = field(default_factory=list)
    """Those that are not durable, in their order."""

    def point(self, call: str, path: str, half: Callable[[], object] | None = None) -> bool:
        """Let `act` decide what happens here. Returns whether the half of the change is done."""
        if not self.holds(path):
            return False
        point = Point(len(self.points), call, path.removeprefix(str(self.root) + "/"))
        self.points.append(point)
        in_half = self.act(point) and half is not None
        if in_half and half is not None:
            half()
            self.act(point)
        return in_half

    def holds(self, path: str) -> bool:
        return path.startswith(str(self.root))

    def cut_power(self, kept: float = 0.0) -> None:
        """Cut every file back to what was synced of it, undo the changes of entries that are not durable, and die. The
        first of the changes, this share of them, reached the disk by themselves."""
        for path, size in self.synced.items():
            if os.path.exists(path) and os.path.getsize(path) > size:
                _os_truncate(path, size)
        changes, self.changes = self.changes, []  # what undoing them removes is not to be undone
        for change in reversed(changes[round(kept * len(changes)) :]):
            self._undo(change)
        os.kill(os.getpid(), signal.SIGKILL)

    def _undo(self, change: EntryChange) -> None:
        if change.moved_from is not None:
            _os_rename(change.path, change.moved_from)
            for earlier, path, moved_from in change.renamed:
                earlier.path, earlier.moved_from = path, moved_from
        elif os.path.isdir(change.path):
            shutil.rmtree(change.path)
        elif os.path.lexists(change.path):
            _os_unlink(change.path)
        if change.folder_before:
            _os_mkdir(change.path)
        elif change.file_before is not None:
            with _open(change.path, "wb") as stream:
                stream.write(change.file_before)

    def before(self, path: str) -> EntryChange:
        """Return a change of this entry, made before it happens."""
        if os.path.islink(path) or not os.path.isfile(path):
            return EntryChange(path, folder_before=os.path.isdir(path))
        with _open(path, "rb") as stream:
            return EntryChange(path, file_before=stream.read(self.synced.get(path, -1)))

    def changed(self, change: EntryChange) -> None:
        """Note that the change happened."""
        self.synced.pop(change.path, None)
        old, new = change.moved_from, change.path
        if old is not None:
            self.synced = {new if path == old else _below(path, old, new): size for path, size in self.synced.items()}
            for earlier in self.changes:
                if (followed := earlier.follow(old, new)) != (earlier.path, earlier.moved_from):
                    change.renamed.append((earlier, earlier.path, earlier.moved_from))
                    earlier.path, earlier.moved_from = followed
        if self.holds(new):
            self.changes.append(change)

    def folder_synced(self, folder: str) -> None:
        self.changes = [change for change in self.changes if os.path.dirname(change.path) != folder]


_os_truncate, _os_rename, _os_unlink, _os_mkdir, _open = os.truncate, os.rename, os.unlink, os.mkdir, open


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
        half = len(content) // 2
        if self._disk.point("write", self._path, lambda: super(_File, self).write(content[:half])):
            return half + super().write(content[half:])
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
        existed = os.path.exists(path)
        raw = _File(path, mode.replace("b", "").replace("t", ""), disk)
        if not existed:
            disk.changed(EntryChange(path))
        if "w" in mode or not existed:
            disk.synced[path] = 0
        else:
            disk.synced.setdefault(path, os.path.getsize(path))
        if buffering == 0:
            return raw
        buffered = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
        return buffered if "b" in mode else io.TextIOWrapper(buffered, encoding or "utf-8", newline="\n")

    return opened


def _os_opening(disk: Disk, original: Any) -> Any:
    def opened(path: Any, flags: int, *rest: Any, **more: Any) -> int:
        absolute = _absolute(path)
        if absolute is None or not flags & WRITES or more.get("dir_fd") or not disk.holds(absolute):
            return original(path, flags, *rest, **more)
        disk.point("open", absolute)
        existed = os.path.exists(absolute)
        descriptor: int = original(path, flags, *rest, **more)
        if not existed:
            disk.changed(EntryChange(absolute))
        return descriptor

    return opened


def _syncing(disk: Disk, original: Any) -> Any:
    def sync(descriptor: int) -> None:
        path = os.readlink(f"/proc/self/fd/{descriptor}")
        disk.point("fsync", path)
        original(descriptor)
        if os.path.isdir(path):
            disk.folder_synced(path)
        elif path in disk.synced:
            disk.synced[path] = os.path.getsize(path)

    return sync


def _changing(disk: Disk, name: str, original: Any) -> Any:
    def change(path: Any, *rest: Any, **more: Any) -> Any:
        folder = os.readlink(f"/proc/self/fd/{more['dir_fd']}") if more.get("dir_fd") is not None else None
        absolute = _absolute(path, folder)
        if absolute is None:
            return original(path, *rest, **more)
        disk.point(name, absolute)
        moves = name in ("replace", "rename")
        target = (_absolute(rest[0]) or "") if moves or name == "link" else absolute
        noted = disk.before(target) if name not in ("truncate", "utime") and disk.holds(target) else None
        done = original(path, *rest, **more)
        if noted is not None:
            noted.moved_from = absolute if moves else None
            disk.changed(noted)
        return done

    return change


def _absolute(path: Any, folder: str | None = None) -> str | None:
    """None for a descriptor."""
    if isinstance(path, int):
        return None
    return os.path.join(folder or os.getcwd(), os.fspath(path))
