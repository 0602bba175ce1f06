"""A terminal for a command: of any size in this process, for the lines that it shows; or of its own, to type into."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
import threading
import time
from collections.abc import Sequence

import pytest

from golfpipe.cli.app import main

_ACTS = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


def on_terminal(words: list[str], columns: int, rows: int = 24) -> list[str]:
    """The lines that `golfpipe WORDS` prints, stdout and stderr, on a terminal of that size, without colors."""
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    read: list[bytes] = []
    reader = threading.Thread(target=_read, args=(ours, read))
    reader.start()
    with pytest.MonkeyPatch.context() as patch, os.fdopen(its, "w") as stream:
        patch.setenv("COLUMNS", str(columns))  # rich asks the process's own streams otherwise
        patch.setenv("TERM", "xterm")
        with contextlib.redirect_stdout(stream), contextlib.redirect_stderr(stream):
            main(words)
        stream.flush()
    reader.join()
    os.close(ours)
    shown = _ACTS.sub("", b"".join(read).decode()).replace("\r\n", "\n")
    return [line.rstrip() for line in re.split("[\r\n]", shown)]  # a bar writes over its own line


def _read(descriptor: int, into: list[bytes]) -> None:
    with contextlib.suppress(OSError):  # the other end was closed
        while data := os.read(descriptor, 1 << 16):
            into.append(data)


def in_terminal(words: Sequence[str], steps: Sequence[tuple[bytes, bytes]], seconds: float = 60) -> tuple[bytes, int]:
    """Run the command in a terminal of its own, and for each step wait for a text to be shown, then type the other one.
    Returns all that was shown, and the exit code. The last text is typed again every 5 s: a Ctrl-C that comes just
    before Python begins to wait for a key is noticed with the next one."""
    process, terminal = pty.fork()
    if process == 0:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a shell lets what it runs in the background ignore Ctrl-C
        os.execvp(words[0], list(words))
    shown, seen, waiting = b"", 0, list(steps)
    deadline, typed = time.monotonic() + seconds, time.monotonic()
    try:
        while time.monotonic() < deadline:
            if select.select([terminal], [], [], 0.1)[0]:
                try:
                    shown += os.read(terminal, 4096)
                except OSError:  # Linux says so that the command has left the terminal
                    break
            if waiting and waiting[0][0] in shown[seen:]:
                os.write(terminal, waiting.pop(0)[1])
                seen, typed = len(shown), time.monotonic()
            elif not waiting and time.monotonic() > typed + 5:
                os.write(terminal, steps[-1][1])
                typed = time.monotonic()
        else:
            os.kill(process, signal.SIGKILL)
    finally:
        os.close(terminal)
    return shown, os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
