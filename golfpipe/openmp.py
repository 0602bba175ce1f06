"""How the threads of OpenMP, with which torch computes on a CPU, wait for each other.

A thread that has done its share of a loop asks in a circle whether the others have, and sleeps only after a while.
GNU's OpenMP asks 300,000 times, for milliseconds. Where other processes use the cores, the circle keeps a core from the
very thread that is waited for. A short circle costs nothing on a quiet machine (docs/speed.md has the figures).

The libraries read their variables once, as they load with torch. So golfpipe's `__init__`, which every command, every
process of a sweep and every program that imports golfpipe runs first, sets them, and so does a generated script.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping

SHORT_CIRCLE = {"GOMP_SPINCOUNT": "10000", "KMP_BLOCKTIME": "1"}
"""The first is read by GNU's OpenMP (libgomp), in rounds; the second by those of LLVM and Intel (libomp, libiomp5), in
milliseconds. None reads that of the others."""
VARIABLES = ("OMP_WAIT_POLICY", *SHORT_CIRCLE)
"""The variables that decide how threads wait. All libraries read the first one."""


def shorten_waiting(environment: MutableMapping[str, str]) -> None:
    """Let threads ask only a short while, unless the environment says already how they are to wait."""
    if not any(name in environment for name in VARIABLES):
        environment.update(SHORT_CIRCLE)


def waiting(environment: Mapping[str, str]) -> str:
    """Say what is set, and who set it."""
    found = {name: environment[name] for name in VARIABLES if name in environment}
    if not found:
        return "as the library does by itself"
    by = "golfpipe" if found == SHORT_CIRCLE else "the environment"
    return f"{', '.join(f'{name}={value}' for name, value in found.items())}, set by {by}"
