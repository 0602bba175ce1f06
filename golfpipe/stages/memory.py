"""The most memory that this process has had since a moment, for the record of a stage."""

from __future__ import annotations

import re
import sys
from contextlib import suppress
from pathlib import Path


def reset_peak() -> None:
    """Count from now on. Only Linux can; elsewhere the peak stays that of the process since it began."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # VmHWM becomes the present size


def peak_memory_bytes() -> int | None:
    """Resident bytes at the highest; None where the system does not tell."""
    with suppress(OSError):
        match = re.search(r"^VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"), re.MULTILINE)
        return int(match[1]) * 1024 if match is not None else None
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
