"""A busy machine is told of once, with what helps, and a quiet one is not called busy."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from golfpipe.machine.busy import LOOK_SECONDS, CoreTime, CoreWatch, core_time


def _watch(waited: float, threads: int = 2) -> CoreWatch:
    times = iter([CoreTime(100.0, 50.0), CoreTime(100.0 + 10.0 * (1 - waited), 50.0 + 10.0 * waited)])
    return CoreWatch(threads, lambda: next(times))


def test_a_busy_machine_is_told_of_once_and_the_option_is_named() -> None:
    watch = _watch(0.48)
    assert watch.warning(LOOK_SECONDS - 0.1) is None
    said = watch.warning(LOOK_SECONDS)
    assert said is not None
    assert "the 2 threads here spent 48% of their time waiting" in said
    assert "--threads 1" in said
    assert watch.warning(LOOK_SECONDS + 1) is None


def test_a_quiet_machine_and_one_thread_are_not() -> None:
    assert _watch(0.05).warning(10.0) is None
    assert _watch(0.9, threads=1).warning(10.0) is None


def test_where_the_system_does_not_say_nothing_is_said(tmp_path: Path) -> None:
    assert core_time(tmp_path / "none") is None
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "schedstat").write_text("12 x\n")
    assert core_time(tmp_path) is None
    assert CoreWatch(2, lambda: None).warning(10.0) is None


def test_the_times_of_all_threads_are_added(tmp_path: Path) -> None:
    for thread, text in (("1", "1000000000 500000000 7\n"), ("2", "2000000000 250000000 7\n")):
        (tmp_path / thread).mkdir()
        (tmp_path / thread / "schedstat").write_text(text)
    assert core_time(tmp_path) == CoreTime(3.0, 0.75)


@pytest.mark.skipif(core_time() is None, reason="this system does not keep the times")
def test_a_thread_that_must_share_its_core_is_seen_to_wait() -> None:
    """Measured: two processes on one core have half of it each."""
    cores = os.sched_getaffinity(0)
    one = {min(cores)}
    program = f"import os\nos.sched_setaffinity(0, {one})\nprint(flush=True)\nwhile True: pass"
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as other:
        try:
            assert other.stdout is not None
            other.stdout.readline()  # it runs now
            os.sched_setaffinity(0, one)
            watch = CoreWatch(2)
            end = time.monotonic() + 0.5
            while time.monotonic() < end:
                pass
            assert watch.warning(LOOK_SECONDS) is not None
        finally:
            os.sched_setaffinity(0, cores)
            other.kill()
