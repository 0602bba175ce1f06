"""Something in a process of its own, with its wall time and peak memory.

python -m benchmarks.child golfpipe quantize artifacts/a/train          # a command
python -m benchmarks.child benchmarks.scaling:step 4 512 2048           # a function, its arguments as text

The last line of standard output is one JSON object: {"peak_memory_bytes": ..., "returned": ...}. Nothing heavy is
imported but what is asked for.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
CLOCK = os.environ.get("BENCHMARK_CLOCK", "wall")
"""wall, or cpu: CPU seconds of this process and its finished children, on a machine that is busy with other work."""


def clock() -> float:
    """Seconds by the chosen clock."""
    if CLOCK == "wall":
        return time.perf_counter()
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(part.ru_utime + part.ru_stime for part in used)


@dataclass(frozen=True, slots=True)
class Measured:
    """What a finished child did."""

    seconds: float
    """From its start to its end."""
    peak_memory_bytes: int
    """Largest resident size (Linux; 0 elsewhere). Pages of memory-mapped files count once they are touched."""
    returned: Any


def measured(target: str, *words: str) -> Measured:
    """Run `target` in a fresh interpreter. Raises CalledProcessError where it fails."""
    started = clock()
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.child", target, *words],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        cwd=ROOT,
    )
    seconds = clock() - started
    answer = json.loads(done.stdout.splitlines()[-1])
    return Measured(seconds, answer["peak_memory_bytes"], answer["returned"])


def peak_memory_bytes() -> int:
    """Largest resident size of this process so far (Linux; 0 elsewhere)."""
    status = Path("/proc/self/status")
    if not status.exists():
        return 0
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def main() -> int:
    target, *words = sys.argv[1:]
    if target == "golfpipe":
        from golfpipe.cli.app import main as golfpipe

        # 4: over the byte limit, which random weights are; the artifact is complete.
        returned = golfpipe(words)
        code = 0 if returned == 4 else returned
    else:
        module, function = target.split(":")
        returned, code = getattr(importlib.import_module(module), function)(*words), 0
    print(json.dumps({"peak_memory_bytes": peak_memory_bytes(), "returned": returned}))
    return code


if __name__ == "__main__":
    sys.exit(main())
