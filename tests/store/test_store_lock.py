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
from golfpipe.store.artifact_writer import begin
from golfpipe.store.files import partial_folder
from golfpipe.store.lock import STALE_SECONDS, lock_holder, lock_path, output_lock

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


HOSTILE = {
    "empty": "",
    "cut": "{",
    "a list": "[]",
    "a host that is no text": '{"host": 1, "pid": 2}',
    "a negative number": '{"host": "h", "pid": -1}',
    "nesting without end": "[" * 100_000,
    "objects without end": '{"a":' * 100_000,
    "a number of 10,000 digits": f'{{"host": "h", "pid": 1{"0" * 10_000}}}',
    "a megabyte": f'{{"host": "{"h" * 1_000_000}", "pid": 1}}',
    "a lone surrogate": '{"host": "h", "pid": 1, "x": "\\ud800"',
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_unreadable_lock_counts_for_a_while(tmp_path: Path, content: str) -> None:
    out = tmp_path / "a"
    lock_path(out).write_text(content)
    assert lock_holder(out) == "another process"
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


def test_a_lock_dated_in_the_future_ages_from_the_moment_it_is_met(tmp_path: Path) -> None:
    out, in_a_year = tmp_path / "a", time.time() + 3e7
    _write_lock(out, {"host": "elsewhere", "pid": 1})
    os.utime(lock_path(out), (in_a_year, in_a_year))
    assert f"whose lock {lock_path(out)} is dated in the future" in (lock_holder(out) or "")
    with pytest.raises(Busy) as caught, output_lock(out):
        pass
    assert str(lock_path(out)) in (caught.value.hint or "")
    assert abs(time.time() - lock_path(out).stat().st_mtime) < 5
    silent = time.time() - STALE_SECONDS - 1
    os.utime(lock_path(out), (silent, silent))
    with output_lock(out):
        pass


@pytest.mark.parametrize("kind", ["pipe", "folder", "link", "dangling link"])
def test_what_is_no_file_in_the_place_of_a_lock_is_named(tmp_path: Path, kind: str) -> None:
    out, outside = tmp_path / "a", tmp_path / "outside"
    outside.write_text("mine")
    os.utime(outside, (1, 1))
    path = lock_path(out)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to(outside if kind == "link" else tmp_path / "nowhere")
    lock_holder(out)  # does not wait for a writer of the pipe
    with pytest.raises(StageFailed, match=r"\.a\.lock: in the place of a lock"), output_lock(out):
        pass
    assert outside.read_text() == "mine" and outside.stat().st_mtime == 1


def test_who_was_silent_too_long_stops(tmp_path: Path) -> None:
    with output_lock(tmp_path / "a") as hold:
        hold.check()
        _write_lock(tmp_path / "a", {"host": "elsewhere", "pid": 1})
        with pytest.raises(Busy, match="took over"):
            hold.check()


def test_a_lock_that_is_gone_is_lost(tmp_path: Path) -> None:
    """The one that took over may have finished."""
    with output_lock(tmp_path / "a") as hold:
        lock_path(tmp_path / "a").unlink()
        with pytest.raises(Busy, match="took over"):
            hold.check()


def test_who_takes_over_gives_the_folder_its_own_name(tmp_path: Path) -> None:
    out = tmp_path / "a"
    with output_lock(out) as lost:
        begin(out, lost).append("log", b"one\n")
        lock_path(out).unlink()
        with output_lock(out) as hold:
            hold.adopt()
            assert partial_folder(out) == hold.partial != lost.partial
            assert not lost.partial.exists() and (hold.partial / "log").read_bytes() == b"one\n"
            with pytest.raises(Busy):
                lost.adopt()
            assert partial_folder(out) == hold.partial
    assert partial_folder(out) == hold.partial  # the end of the lost lock did not touch it


def test_a_folder_that_is_adopted_meanwhile_is_not_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The race between the check and the renaming: the new owner is faster."""
    out, replace = tmp_path / "a", os.replace
    left, of_the_other = partial_folder(out, "0" * 12), partial_folder(out, "1" * 12)
    left.mkdir()

    def after_the_other(source: Path, target: Path) -> None:
        if source == left and left.exists():
            replace(left, of_the_other)
            _write_lock(out, {"host": "elsewhere", "pid": 1})
        replace(source, target)

    monkeypatch.setattr(os, "replace", after_the_other)
    with output_lock(out) as hold, pytest.raises(Busy):
        hold.adopt()
    assert of_the_other.is_dir() and not hold.partial.exists()


def _write_lock(out: Path, owner: dict[str, object]) -> None:
    lock_path(out).write_text(json.dumps(owner))


def _dead_pid() -> int:
    return 2**22 + 1  # above the largest that Linux gives


def test_folders_that_stay_empty_go_again(tmp_path: Path) -> None:
    out = tmp_path / "artifacts" / "run" / "train"
    with output_lock(out):
        assert out.parent.is_dir()
    assert not (tmp_path / "artifacts").exists()
    with output_lock(out):
        (out.parent.parent / "kept").touch()
    assert not out.parent.exists() and (tmp_path / "artifacts" / "kept").exists()
    out.parent.mkdir()
    with output_lock(out):
        pass
    assert out.parent.is_dir()
