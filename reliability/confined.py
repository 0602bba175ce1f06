"""Cases run in forked children under limits of memory and time; a child that dies takes its case
down, not the program."""

from __future__ import annotations

import mmap
import os
import pickle
import resource
import select
import signal
import struct
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MEMORY_BYTES = 300_000_000
SECONDS = 2.0
_GIVE_UP_SECONDS = 60.0


@dataclass(frozen=True)
class Case:
    """What became of one case."""

    index: int
    seconds: float
    """Of the processor: on a busy machine a clock would blame the readers for others."""
    value: Any
    """What the case returned; None where its child died."""
    died: str | None = None
    """'signal 11', 'no answer after 20 s'."""


@dataclass
class Peak:
    """Memory over the state before the first case, resident, the largest of all children."""

    bytes: int = 0


def run_confined(
    case: Callable[[int], Any], count: int, peak: Peak, *, memory_bytes: int = MEMORY_BYTES
) -> Iterator[Case]:
    """Run case(0) ... case(count - 1) in order. What a case allocates beyond `memory_bytes` fails with MemoryError."""
    index = 0
    while index < count:
        place = mmap.mmap(-1, 8)
        reading, writing = os.pipe()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # about threads, of which the child uses none
            child = os.fork()
        if child == 0:
            os.close(reading)
            _work(case, index, count, place, writing, memory_bytes)
        os.close(writing)
        received, why, status = 0, None, 0
        try:
            for message in _messages(reading):
                if message is None:
                    why = f"no answer after {_GIVE_UP_SECONDS:.0f} s"
                    break
                number, seconds, value, used = message
                peak.bytes = max(peak.bytes, used)
                received += 1
                yield Case(number, seconds, value)
        finally:
            os.close(reading)
            if index + received < count:  # it died already, hangs, or nobody wants to hear more
                os.kill(child, signal.SIGKILL)
            status = os.waitpid(child, 0)[1]
        index += received
        if index < count:
            index = struct.unpack("<q", place[:])[0]
            yield Case(index, 0.0, None, why or f"signal {status & 127}, exit {status >> 8}")
            index += 1


def _messages(reading: int) -> Iterator[tuple[int, float, Any, int] | None]:
    """What the child sends; None where it sends nothing for too long."""
    buffer = b""
    while True:
        if not select.select([reading], [], [], _GIVE_UP_SECONDS)[0]:
            yield None
            return
        block = os.read(reading, 1 << 16)
        if not block:
            return
        buffer += block
        while len(buffer) >= 4 and len(buffer) >= 4 + (size := int.from_bytes(buffer[:4], "little")):
            yield pickle.loads(buffer[4 : 4 + size])
            buffer = buffer[4 + size :]


def _work(
    case: Callable[[int], Any], start: int, count: int, place: mmap.mmap, writing: int, memory_bytes: int
) -> None:
    """The child's life; never returns."""
    code = 1
    try:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_AS, (_address_space() + memory_bytes,) * 2)
        base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for index in range(start, count):
            place[:] = struct.pack("<q", index)
            began = time.process_time()
            try:
                value = case(index)
            except BaseException:
                traceback.print_exc()  # of the program itself: it handles what readers raise
                raise
            seconds = time.process_time() - began
            used = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - base) * 1024
            message = pickle.dumps((index, seconds, value, used))
            _write(writing, len(message).to_bytes(4, "little") + message)
        code = 0
    finally:
        os._exit(code)


def _write(descriptor: int, content: bytes) -> None:
    while content:
        content = content[os.write(descriptor, content) :]


def _address_space() -> int:
    """Bytes that this process has mapped."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return pages * resource.getpagesize()
