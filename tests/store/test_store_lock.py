"""One writer per folder: other processes are refused at once, dead ones are forgotten."""

from __future__ import annotations

import errno
import json
import os
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from unittest import mock

import pytest

from golfpipe.errors import Busy, StageFailed
from golfpipe.store.lock import STALE_SECONDS, lock_path, output_lock

HOLDER = """
import sys
from pathlib import Path
from golfpipe.store.lock import output_lock
with output_lock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def _start_holder(out: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(out)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_second_process_is_busy_and_a_killed_one_is_taken_over(tmp_path: Path) -> None:
    out = tmp_path / "a"
    with _start_holder(out) as process:
        started = time.perf_counter()
        with pytest.raises(Busy, match=f"process {process.pid}") as caught, output_lock(out):
            pass
        assert time.perf_counter() - started < 1
        assert caught.value.exit_code == 75
        process.kill()
        process.wait()
        with output_lock(out):
            pass
    assert list(tmp_path.iterdir()) == []


def test_the_same_process_cannot_take_it_twice(tmp_path: Path) -> None:
    with output_lock(tmp_path / "a"), pytest.raises(Busy), output_lock(tmp_path / "a"):
        pass


def test_only_one_of_many_takers_gets_a_dead_lock(tmp_path: Path) -> None:
    out = tmp_path / "a"
    for _ in range(20):
        _write_lock(out, {"host": socket.gethostname(), "pid": _dead_pid()})
        assert _most_at_once(out, takers=4) == 1


def _most_at_once(out: Path, takers: int) -> int:
    """How many of the threads held the lock at the same time."""
    holders: list[int] = []
    most = [0]
    gate = threading.Barrier(takers)

    def take(number: int) -> None:
        gate.wait()
        with suppress(Busy), output_lock(out):
            holders.append(number)
            most[0] = max(most[0], len(holders))
            time.sleep(0.002)
            holders.remove(number)

    threads = [threading.Thread(target=take, args=(number,)) for number in range(takers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return most[0]


def test_other_hosts_lock_counts_until_its_heart_stops(tmp_path: Path) -> None:
    out = tmp_path / "a"
    _write_lock(out, {"host": "elsewhere", "pid": 1})
    with pytest.raises(Busy, match="on elsewhere"), output_lock(out):
        pass
    silent = time.time() - STALE_SECONDS - 1
    os.utime(lock_path(out), (silent, silent))
    with output_lock(out):
        pass


@pytest.mark.parametrize("content", ["", "{", "[]", '{"host": 1, "pid": 2}', '{"host": "h", "pid": -1}'])
def test_unreadable_lock_counts_for_a_while(tmp_path: Path, content: str) -> None:
    out = tmp_path / "a"
    lock_path(out).write_text(content)
    with pytest.raises(Busy), output_lock(out):
        pass
    silent = time.time() - STALE_SECONDS - 1
    os.utime(lock_path(out), (silent, silent))
    with output_lock(out):
        pass


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="start times come from /proc")
def test_a_reused_process_number_is_not_the_holder(tmp_path: Path) -> None:
    out = tmp_path / "a"
    _write_lock(out, {"host": socket.gethostname(), "pid": os.getpid(), "started": "1"})
    with output_lock(out):
        pass


def test_release_leaves_a_lock_that_somebody_took_over(tmp_path: Path) -> None:
    out = tmp_path / "a"
    with output_lock(out):
        _write_lock(out, {"host": "elsewhere", "pid": 1})
    assert lock_path(out).exists()


def test_without_hard_links_a_full_disk_leaves_no_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(*paths: object) -> None:
        raise OSError(errno.EPERM, "no hard links")

    monkeypatch.setattr(os, "link", no_links)
    with output_lock(tmp_path / "a"), pytest.raises(Busy), output_lock(tmp_path / "a"):
        pass
    full = mock.Mock(side_effect=OSError(errno.ENOSPC, "full"))
    with monkeypatch.context() as patch, pytest.raises(StageFailed, match="were needed"):
        patch.setattr(os, "fdopen", full)
        with output_lock(tmp_path / "a"):
            pass
    assert list(tmp_path.iterdir()) == []


def test_a_link_whose_answer_was_lost_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link = os.link

    def lossy(source: Path, target: Path) -> None:
        link(source, target)
        link(source, target)  # the network's second try

    monkeypatch.setattr(os, "link", lossy)
    with output_lock(tmp_path / "a"):
        pass


def test_a_container_of_the_same_name_is_another_host(tmp_path: Path) -> None:
    out = tmp_path / "a"
    _write_lock(out, {"host": socket.gethostname(), "pid_namespace": "pid:[1]", "pid": _dead_pid()})
    with pytest.raises(Busy), output_lock(out):
        pass


def test_heartbeats_are_judged_by_the_clock_of_the_file_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "a"
    _write_lock(out, {"host": "elsewhere", "pid": 1})
    monkeypatch.setattr(time, "time", lambda: 4e9)  # this host's clock is years ahead
    with pytest.raises(Busy), output_lock(out):
        pass


def test_who_was_silent_too_long_stops(tmp_path: Path) -> None:
    with output_lock(tmp_path / "a") as hold:
        hold.check()
        _write_lock(tmp_path / "a", {"host": "elsewhere", "pid": 1})
        with pytest.raises(Busy, match="took over"):
            hold.check()


def _write_lock(out: Path, owner: dict[str, object]) -> None:
    lock_path(out).write_text(json.dumps(owner))


def _dead_pid() -> int:
    return 2**22 + 1  # above the largest that Linux gives
