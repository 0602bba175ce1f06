"""Two processes on one output: one works, the other exits 75 within a second, the start of Python included.

Judged is the refused process's processor time, which other work on the machine does not change; the wall-clock seconds,
on a machine that also runs the winner, are reported.
"""

from __future__ import annotations

import os
import random
import shutil
import statistics
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reliability.stage_commands import content_of, words_of, workplace

ROOT = Path(__file__).parents[1]
BUSY = 75
MOST_SECONDS = 1.0


@dataclass(frozen=True)
class Ending:
    """How a process ended."""

    code: int
    seconds: float
    processor_seconds: float


def run(count: int, seed: int) -> dict[str, Any]:
    source = random.Random(seed)
    failures: list[str] = []
    refused: list[Ending] = []
    ends: Counter[str] = Counter()
    with workplace() as folder:
        place = folder / "twice"
        out = place / "out"
        expected = None
        for number in range(count):
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir()
            started = [_start(out, folder)]
            time.sleep(source.choice((0.0, source.uniform(0, 0.05))))
            started.append(_start(out, folder))
            ended = _wait(started)
            ends[" and ".join(sorted(str(end.code) for end in ended))] += 1
            busy = [end for end in ended if end.code == BUSY]
            refused += busy
            if sorted(end.code for end in ended) != [0, BUSY]:
                failures.append(f"start {number}: {ended}")
            elif busy[0].processor_seconds > MOST_SECONDS:
                failures.append(f"start {number}: exit {BUSY} took {busy[0].processor_seconds:.2f} s")
            expected = expected or content_of(out)
            if content_of(out) != expected or len(list(place.iterdir())) != 1:
                failures.append(f"start {number}: {[path.name for path in place.iterdir()]}")
    return {
        "exits": dict(ends),
        "refused_after_seconds": _spread([end.seconds for end in refused]),
        "refused_after_processor_seconds": _spread([end.processor_seconds for end in refused]),
        "failures": failures,
    }


def _spread(seconds: list[float]) -> dict[str, float]:
    return {"median": round(statistics.median(seconds), 3), "max": round(max(seconds), 3)} if seconds else {}


def _start(out: Path, folder: Path) -> tuple[int, float]:
    """Process number and time of the start."""
    words = [sys.executable, "-m", "golfpipe", *words_of("evaluate", out)]
    nowhere = [(os.POSIX_SPAWN_OPEN, stream, os.devnull, os.O_RDWR, 0) for stream in (1, 2)]
    started = time.perf_counter()
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return os.posix_spawn(sys.executable, words, environment, file_actions=nowhere), started


def _wait(started: list[tuple[int, float]]) -> list[Ending]:
    """How each ended, in the order in which they did."""
    since = dict(started)
    ended = []
    while since:
        process, status, used = os.wait4(-1, 0)
        seconds = time.perf_counter() - since.pop(process)
        ended.append(Ending(os.waitstatus_to_exitcode(status), seconds, used.ru_utime + used.ru_stime))
    return ended
