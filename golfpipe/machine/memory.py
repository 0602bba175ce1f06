"""This process's memory: what its allocator keeps, and the peak since a given moment, for a stage's record."""

from __future__ import annotations

import ctypes
import re
import sys
from contextlib import suppress
from pathlib import Path

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # malloc.h


def keep_freed_memory(up_to: int = 2**31 - 1) -> None:
    """Make the allocator of a GNU C library keep freed pieces of up to `up_to` bytes for the next tensor. By default,
    large tensors are mapped from the system and given back at each operation, and the system clears every page anew.
    Measured gains: 11 % of compiled scoring of `16l`, 7 % of the `quantize` command, 3 % of a training step."""
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL("libc.so.6").mallopt
        mallopt(_MMAP_THRESHOLD, up_to)
        mallopt(_TRIM_THRESHOLD, min(2 * up_to, 2**31 - 1))


def reset_peak() -> None:
    """Start counting the peak from now on, after giving back what earlier stages left. Only Linux can; elsewhere the
    peak is that of the process since it began."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # VmHWM becomes the present size


def peak_memory_bytes() -> int | None:
    """Return the highest number of resident bytes; None where the system does not tell."""
    with suppress(OSError):
        match = re.search(r"^VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"), re.MULTILINE)
        return int(match[1]) * 1024 if match is not None else None
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
