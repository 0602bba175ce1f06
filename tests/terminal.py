"""A terminal of any size for a command in this process: what it shows, as lines."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import struct
import termios
import threading

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
    return [line.rstrip() for line in _ACTS.sub("", b"".join(read).decode()).replace("\r\n", "\n").split("\n")]


def _read(descriptor: int, into: list[bytes]) -> None:
    with contextlib.suppress(OSError):  # the other end was closed
        while data := os.read(descriptor, 1 << 16):
            into.append(data)
