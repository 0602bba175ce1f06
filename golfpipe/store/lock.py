"""One writer per output folder.

The lock is a file made with O_EXCL beside the folder, so that it also works on network folders. It holds host, pid
and a heartbeat (its modification time). A dead process's lock is taken over at once on the same host, and after
STALE_SECONDS without a heartbeat from another.
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

from golfpipe.errors import Busy

HEARTBEAT_SECONDS = 15.0
STALE_SECONDS = 60.0


@contextmanager
def output_lock(out: Path) -> Iterator[None]:
    """Hold `out` for this process. Raises Busy (exit 75) at once where another process holds it."""
    out.parent.mkdir(parents=True, exist_ok=True)
    path = out.with_name(f".{out.name}.lock")
    _acquire(path, out)
    stop = threading.Event()
    beat = threading.Thread(target=_keep_alive, args=(path, stop), daemon=True)
    beat.start()
    try:
        yield
    finally:
        stop.set()
        beat.join()
        path.unlink(missing_ok=True)


def _acquire(path: Path, out: Path) -> None:
    owner = json.dumps({"host": socket.gethostname(), "pid": os.getpid()}).encode()
    for _ in range(3):
        try:
            descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
        except FileExistsError:
            holder = _live_holder(path)
            if holder is not None:
                raise Busy(
                    f"{out}: {holder} is writing here",
                    hint="wait for it, or give another folder with -o",
                    path=str(out),
                ) from None
            _take_away(path)
            continue
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(owner)
        return
    raise Busy(f"{out}: the lock changes hands too fast; try again", path=str(out))


def _take_away(path: Path) -> None:
    """Remove a dead lock. The rename makes sure that only one of several takers removes this very file."""
    grave = path.with_name(f"{path.name}.{os.getpid()}")
    with suppress(FileNotFoundError):
        os.replace(path, grave)
        grave.unlink()


def _live_holder(path: Path) -> str | None:
    """Who holds the lock, in words; None where that process is dead or silent."""
    try:
        age = time.time() - path.stat().st_mtime
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        owner = json.loads(content)
        host, pid = str(owner["host"]), int(owner["pid"])
    except (ValueError, KeyError, TypeError):
        # Between creation and the write of its content a lock is empty for a moment.
        return "another process" if age < STALE_SECONDS else None
    if host == socket.gethostname():
        return f"process {pid}" if _is_running(pid) else None
    return f"process {pid} on {host}" if age < STALE_SECONDS else None


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _keep_alive(path: Path, stop: threading.Event) -> None:
    while not stop.wait(HEARTBEAT_SECONDS):
        with suppress(OSError):
            os.utime(path)
