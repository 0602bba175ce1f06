"""One writer per output folder.

The lock is a file made beside the folder, only if it is not there yet, so that it also works on network folders. It
holds host, pid and the process's start time; its modification time is a heartbeat. A dead process's lock is taken
over at once on the same host, and after STALE_SECONDS without a heartbeat from another.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

from golfpipe.errors import Busy

try:
    import fcntl
except ImportError:  # Windows: takeovers of dead locks are then not guarded against each other
    fcntl = None  # type: ignore[assignment]

HEARTBEAT_SECONDS = 15.0
STALE_SECONDS = 60.0


@contextmanager
def output_lock(out: Path) -> Iterator[None]:
    """Hold `out` for this process. Raises Busy (exit 75) at once where another process, or this one, holds it."""
    out.parent.mkdir(parents=True, exist_ok=True)
    path = lock_path(out)
    content = _acquire(path, out)
    stop = threading.Event()
    beat = threading.Thread(target=_keep_alive, args=(path, stop), daemon=True)
    beat.start()
    try:
        yield
    finally:
        stop.set()
        beat.join()
        _release(path, content)


def lock_path(out: Path) -> Path:
    """The file that says who writes `out`."""
    return out.with_name(f".{out.name}.lock")


def lock_holder(out: Path) -> str | None:
    """Who writes `out` now, in words; None where nobody does, dead processes included. Changes nothing."""
    path = lock_path(out)
    try:
        content, age = path.read_bytes(), time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return None
    except PermissionError:
        return "a process of another user"
    return _live_holder(content, age)


def _acquire(path: Path, out: Path) -> bytes:
    content = json.dumps(
        {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "started": _start_time(os.getpid()),
            "token": uuid4().hex,  # tells this lock from every other one, for the release
        }
    ).encode()
    for _ in range(10):
        if _create(path, content):
            return content
        holder = _remove_if_dead(path)
        if holder is not None:
            raise Busy(
                f"{out}: {holder} is writing here",
                hint="wait for it, or give another folder with -o",
                path=str(out),
            )
    raise Busy(f"{out}: the lock changes hands too fast; try again", path=str(out))


def _create(path: Path, content: bytes) -> bool:
    """Make the lock file with its content in one step, so that a crash leaves none without an owner. False where
    there is one."""
    draft = path.with_name(f"{path.name}.{uuid4().hex[:12]}")
    try:
        draft.write_bytes(content)
        os.link(draft, path)
    except FileExistsError:
        return False
    except OSError:  # a file system without hard links, or a real error, which comes again below
        try:
            descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
        except FileExistsError:
            return False
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
    finally:
        draft.unlink(missing_ok=True)
    return True


def _remove_if_dead(path: Path) -> str | None:
    """Who holds the lock, in words; None where there is no lock any more, because its dead owner's was removed."""
    try:
        descriptor = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return None
    except PermissionError:
        return "a process of another user"
    with os.fdopen(descriptor, "rb") as stream:
        # Two takers must not both judge the old lock and then remove it and, after that, each other's new one.
        if fcntl is not None:
            with suppress(OSError):
                fcntl.flock(descriptor, fcntl.LOCK_EX)
        status = os.fstat(descriptor)
        try:
            current = path.stat()
        except FileNotFoundError:
            return None
        if (status.st_ino, status.st_dev) != (current.st_ino, current.st_dev):
            return None
        holder = _live_holder(stream.read(), time.time() - status.st_mtime)
        if holder is None:
            path.unlink(missing_ok=True)
        return holder


def _live_holder(content: bytes, age: float) -> str | None:
    """Who wrote the lock, in words; None where that process is dead or silent."""
    owner = _parse(content)
    if owner is None:  # without hard links a lock is empty for a moment after its creation
        return "another process" if age < STALE_SECONDS else None
    pid = owner["pid"]
    if owner["host"] == socket.gethostname():
        return f"process {pid}" if _is_running(pid, owner.get("started")) else None
    return f"process {pid} on {owner['host']}" if age < STALE_SECONDS else None


def _parse(content: bytes) -> dict[str, Any] | None:
    try:
        owner = json.loads(content)
    except ValueError:
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
    # A process that got the number of the dead one has another start time.
    now_started = _start_time(pid)
    return started is None or now_started is None or now_started == started


def _start_time(pid: int) -> str | None:
    """When the process started, in ticks since boot; None where /proc does not tell."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()  # the name before it may hold spaces
    if len(fields) < 20 or fields[0] == "Z":  # a zombie writes nothing any more
        return "dead" if fields[:1] == ["Z"] else None
    return fields[19]


def _release(path: Path, content: bytes) -> None:
    """Remove the lock, if it is still this one: after a long suspension another host may have taken over."""
    with suppress(OSError):
        if path.read_bytes() == content:
            path.unlink(missing_ok=True)


def _keep_alive(path: Path, stop: threading.Event) -> None:
    while not stop.wait(HEARTBEAT_SECONDS):
        with suppress(OSError):
            os.utime(path)
