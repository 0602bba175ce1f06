"""The lock that lets only one process write an output folder.

The lock is a file made beside the folder, only if it is not there yet, so that it also works on network folders. It
holds host, pid and the process's start time; its modification time is a heartbeat. A dead process's lock is taken
over at once on the same host, and after STALE_SECONDS without a heartbeat from another. Heartbeats are judged by the
clock of the file system, since the clocks of two hosts may differ.

A process that was suspended for so long goes on without knowing that its lock is lost. It harms nothing: it builds in
a folder whose name has its token, and the new owner renames that folder before anything else (`adopt`). Whatever the
old owner still does fails, because its folder is not there.

The package flufl.lock is not used: it waits for a dead process's lock to expire even on the same host, needs the
clocks of all hosts to agree, and lets one of two processes that break an old lock remove the other's new one.
"""

from __future__ import annotations

import json
import os
import socket
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from golfpipe.errors import Busy, StageFailed
from golfpipe.store.files import make_folder, new_token, partial_folder, sync_file, sync_folder, writing

try:
    import fcntl
except ImportError:  # Windows: takeovers of dead locks are then not guarded against each other
    fcntl = None  # type: ignore[assignment]  # a module elsewhere

HEARTBEAT_SECONDS = 15.0
STALE_SECONDS = 60.0
_MAX_BYTES = 4096
"""The most bytes of a lock file that are read; golfpipe writes about 150."""
_PLAIN = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
"""Flags with which a link is not followed, and a pipe does not wait for its other end."""


@dataclass(frozen=True)
class Hold:
    """The lock of one output folder, held by this process."""

    out: Path
    token: str
    content: bytes

    @property
    def partial(self) -> Path:
        """The folder in which this process builds `out`."""
        return partial_folder(self.out, self.token)

    def adopt(self) -> None:
        """Take over what another process left unfinished: its folder gets the name of this process's own.

        The folder is found before the lock is checked. So its name is one that it has no more where a third process
        adopts it meanwhile, and the renaming fails.
        """
        while True:
            found = partial_folder(self.out)
            self.check()
            if found == self.partial or not os.path.lexists(found):
                return
            with suppress(FileNotFoundError):
                os.replace(found, self.partial)
                sync_folder(self.out.parent)

    def is_lost(self) -> bool:
        """Return True if another process took the lock over, as it may after a long suspension of this process. It may
        have finished since, so that there is no lock any more."""
        try:
            return _read(lock_path(self.out)) != self.content
        except FileNotFoundError:
            return True
        except OSError:  # unknown for now; a hiccup of the network must not cost the work
            return False

    def check(self) -> None:
        """Raise Busy if the lock is lost. Every write is preceded by this."""
        if self.is_lost():
            raise Busy(
                f"{self.out}: another process took over while this one was silent for over {STALE_SECONDS:.0f} s",
                hint="the other process goes on from the last checkpoint; wait for it, or give another folder with -o",
                path=str(self.out),
            )


@contextmanager
def output_lock(out: Path) -> Iterator[Hold]:
    """Hold `out` inside the `with` block. Raises Busy (exit 75) at once where a process, even this one, has it."""
    missing = [folder for folder in (out.parent, *out.parent.parents) if not folder.exists()]
    with writing(out):
        make_folder(out.parent)
    token = new_token()
    path, hold = lock_path(out), Hold(out, token, _owner(token))
    stop = threading.Event()
    beat = threading.Thread(target=_keep_alive, args=(hold, stop), daemon=True)
    try:
        _acquire(path, hold)
        beat.start()
        yield hold
    finally:
        stop.set()
        if beat.is_alive():
            beat.join()
        _release(path, hold.content)
        with suppress(OSError):  # a folder stays that something was written into
            for folder in missing:
                folder.rmdir()


def lock_path(out: Path) -> Path:
    """Return the path of the lock file of `out`."""
    return out.with_name(f".{out.name}.lock")


def lock_holder(out: Path) -> str | None:
    """Say who is writing `out` now; None where nobody is, dead processes included. Changes nothing."""
    path = lock_path(out)
    try:
        content, age = _read(path), time.time() - path.stat().st_mtime
    except PermissionError:
        return "a process of another user"
    except OSError:
        return None
    holder = _live_holder(content, age)
    return f"{holder}, whose lock {path} is dated in the future" if holder and age < -STALE_SECONDS else holder


def _read(path: Path) -> bytes:
    """Return the content of a lock file; of a file that is none, its beginning. Raises OSError for a link."""
    descriptor = os.open(path, os.O_RDONLY | _PLAIN)
    with os.fdopen(descriptor, "rb", buffering=0) as stream:
        return stream.read(_MAX_BYTES) or b""


def _owner(token: str) -> bytes:
    """Return the lock file's content, which tells this process, and this lock of it, from all others."""
    return json.dumps(
        {
            "host": socket.gethostname(),
            "pid_namespace": _pid_namespace(),
            "pid": os.getpid(),
            "started": _start_time(os.getpid()),
            "token": token,
        }
    ).encode()


def _acquire(path: Path, hold: Hold) -> None:
    for _ in range(10):
        now = _create(path, hold.content)
        if now is None:
            return
        holder = _remove_if_dead(path, now)
        if holder is not None:
            raise _busy(hold.out, holder)
    raise Busy(f"{hold.out}: the lock changes hands too fast; try again", path=str(hold.out))


def check_lock(out: Path) -> None:
    """Raise Busy where another process writes the output."""
    holder = lock_holder(out)
    if holder is not None:
        raise _busy(out, holder)


def _busy(out: Path, holder: str) -> Busy:
    return Busy(
        f"{out}: {holder} is writing here",
        hint=f"wait for it, or give another folder with -o; the lock {lock_path(out)} counts no more"
        f" {STALE_SECONDS:.0f} s after the last sign of life",
        path=str(out),
    )


def _create(path: Path, content: bytes) -> float | None:
    """Make the lock file with its content in one step, so that a crash leaves none without an owner. Return None where
    that worked, and the time by the clock of the file system where there is a lock already."""
    draft = path.with_name(f"{path.name}.{new_token()}")
    try:
        with writing(path, len(content)):
            draft.write_bytes(content)
            sync_file(draft)  # a power cut would leave a lock without an owner
        now = draft.stat().st_mtime
        try:
            os.link(draft, path)
        except FileExistsError:
            # Over a network the first try may have worked without its answer arriving; the retry then found that link.
            return now if draft.stat().st_nlink < 2 else None
        except OSError:  # a file system without hard links
            return None if _create_exclusively(path, content) else now
        return None
    finally:
        with suppress(OSError):
            draft.unlink(missing_ok=True)


def _create_exclusively(path: Path, content: bytes) -> bool:
    """Make the lock file in two steps, creating and writing it. Return False where there is one already."""
    with writing(path, len(content)):
        try:
            descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
        except FileExistsError:
            return False
        try:
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(content)
        except BaseException:
            with suppress(OSError):
                path.unlink(missing_ok=True)
            raise
    return True


def _remove_if_dead(path: Path, now: float) -> str | None:
    """Say who holds the lock. Return None if there is no lock, or it was a dead process's and was removed."""
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            raise StageFailed(f"{path}: in the place of a lock, and no plain file", hint="remove it", path=str(path))
        descriptor = os.open(path, os.O_RDWR | _PLAIN)
    except FileNotFoundError:
        return None
    except PermissionError:
        return "a process of another user"
    with os.fdopen(descriptor, "rb", buffering=0) as stream:
        # Without a lock on the file two processes could judge the old lock dead together; the slower one would then
        # remove the new lock of the faster one.
        if fcntl is not None:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return "a process that takes over from a dead one"
            except OSError:  # a file system without such locks
                pass
        status = os.fstat(descriptor)
        try:
            current = path.stat()
        except FileNotFoundError:
            return None
        if (status.st_ino, status.st_dev) != (current.st_ino, current.st_dev):
            return None
        if status.st_mtime > now:
            # A clock was set back, and a date in the future says nothing about the owner: its silence begins now.
            os.utime(descriptor)
        holder = _live_holder(stream.read(_MAX_BYTES) or b"", now - status.st_mtime)
        if holder is None:
            path.unlink(missing_ok=True)
        return holder


def _live_holder(content: bytes, age: float) -> str | None:
    """Say who wrote the lock; None where that process is dead or silent."""
    owner = _parse(content)
    if owner is None:  # without hard links a lock is empty for a moment after it is made
        return "another process" if age < STALE_SECONDS else None
    pid = owner["pid"]
    here = {"host": socket.gethostname(), "pid_namespace": _pid_namespace()}
    if here == {key: owner.get(key, here[key]) for key in here}:
        return f"process {pid}" if _is_running(pid, owner.get("started")) else None
    return f"process {pid} on {owner['host']}" if age < STALE_SECONDS else None


def _parse(content: bytes) -> dict[str, Any] | None:
    try:
        owner = json.loads(content)
    except (ValueError, RecursionError):  # somebody else's file may nest without end
        return None
    valid = isinstance(owner, dict) and isinstance(owner.get("host"), str) and type(owner.get("pid")) is int
    return owner if valid and owner["pid"] > 0 else None


def _is_running(pid: int, started: Any) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    # Another process may have got the number of the dead one; its start time differs then.
    now_started = _start_time(pid)
    return started is None or now_started is None or now_started == started


def _pid_namespace() -> str | None:
    """Return the namespace of process numbers, since containers may share a host's name; None where unknown."""
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return None


def _start_time(pid: int) -> str | None:
    """Return when the process started, in ticks since boot; None where /proc does not tell."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()  # the process's name comes before it and may hold spaces
    if len(fields) < 20 or fields[0] == "Z":  # a zombie writes nothing any more
        return "dead" if fields[:1] == ["Z"] else None
    return fields[19]


def _release(path: Path, content: bytes) -> None:
    """Remove the lock if it is still this one: after a long suspension another host may have taken it over."""
    with suppress(OSError):
        if _read(path) == content:
            path.unlink(missing_ok=True)


def _keep_alive(hold: Hold, stop: threading.Event) -> None:
    while not stop.wait(HEARTBEAT_SECONDS):
        with suppress(OSError):
            if not hold.is_lost():  # otherwise this would keep another process's lock alive
                os.utime(lock_path(hold.out))
