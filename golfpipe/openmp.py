"""How the threads of OpenMP, with which torch computes on a CPU, wait for each other.

A thread that has done its share of a loop asks in a circle whether the others have, and sleeps only after a while.
GNU's OpenMP asks 300,000 times, for milliseconds. Where other processes use the cores, the circle keeps a core from the
very thread that is waited for. A short circle costs nothing on a quiet machine, and on a busy one none is the best
(docs/speed.md has the figures). So golfpipe looks, as it starts, which of the two this is.

The libraries read their variables once, as they load with torch. So golfpipe's `__init__`, which every command, every
process of a sweep and every program that imports golfpipe runs first, sets them, and so does a generated script. In a
program that has loaded torch before, they come too late.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, MutableMapping
from pathlib import Path

SHORT_CIRCLE = {"GOMP_SPINCOUNT": "10000", "KMP_BLOCKTIME": "1"}
NO_CIRCLE = {"GOMP_SPINCOUNT": "0", "KMP_BLOCKTIME": "0"}
"""The first variable is read by GNU's OpenMP (libgomp), in rounds; the second by those of LLVM and Intel (libomp,
libiomp5), in milliseconds. None reads that of the others."""
VARIABLES = ("OMP_WAIT_POLICY", *SHORT_CIRCLE)
"""The variables that decide how threads wait. All libraries read the first one."""
LOAD = Path("/proc/loadavg")


def shorten_waiting(environment: MutableMapping[str, str], busy: bool) -> None:
    """Let threads ask only a short while, or on a busy machine not at all, unless the environment says already how they
    are to wait."""
    if not any(name in environment for name in VARIABLES):
        environment.update(NO_CIRCLE if busy else SHORT_CIRCLE)


def others_use_the_cores(load: Path = LOAD) -> bool:
    """Return True if as many threads of others run, or are ready to, at this moment as there are cores: Linux counts
    them, this one included, in the fourth word of /proc/loadavg. False where they are not counted."""
    try:
        ready = int(load.read_text(encoding="ascii").split()[3].partition("/")[0])
    except (OSError, ValueError, IndexError):
        return False
    return ready - 1 >= (os.cpu_count() or 1)


def waiting(environment: Mapping[str, str]) -> str:
    """Say what is set, and who set it."""
    found = {name: environment[name] for name in VARIABLES if name in environment}
    if not found:
        return "as the library does by itself"
    by = "golfpipe" if found in (SHORT_CIRCLE, NO_CIRCLE) else "the environment"
    busy = ", as others use the cores" if found == NO_CIRCLE else ""
    return f"{', '.join(f'{name}={value}' for name, value in found.items())}, set by {by}{busy}"
