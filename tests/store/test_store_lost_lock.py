"""Whoever lost the lock changes nothing of the one that took over, whatever it does next."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import fake_stages
import numpy as np
import pytest

from golfpipe.config.schema import PipelineConfig
from golfpipe.data.shard_writer import ShardWriter
from golfpipe.errors import Busy, StageFailed
from golfpipe.jobs.job import Context, Job
from golfpipe.jobs.registry import STAGES
from golfpipe.jobs.run import run_job
from golfpipe.jobs.unfinished import JOB_FILE
from golfpipe.store import lock
from golfpipe.store.artifact import open_artifact, try_open
from golfpipe.store.artifact_writer import ArtifactWriter, begin, finish
from golfpipe.store.files import write_file
from golfpipe.store.lock import Hold, lock_path, output_lock
from golfpipe.store.manifest import Result

Write = Callable[[ArtifactWriter], object]
RESULT: dict[str, Any] = {"stage": "s", "key": "k", "config": {}, "inputs": (), "provenance": {}}


def _shard(out: ArtifactWriter) -> None:
    with ShardWriter(out.folder, "train", shard_tokens=10) as writer:
        writer.write(np.zeros(25, dtype=np.uint16))


def _finish(out: ArtifactWriter) -> None:
    assert out.hold is not None
    finish(out, out.hold.out, Result(kind="evaluation", metrics={}), **RESULT)


WRITES: dict[str, Write] = {
    "a file": lambda out: out.write("content.txt", b"old"),
    "a file in a folder": lambda out: out.write("records/content.txt", b"old"),
    "json": lambda out: out.write_json("content.txt", ["old"]),
    "a log": lambda out: out.append("content.txt", b"old"),
    "the settings": lambda out: out.write(JOB_FILE, b"old", content=False),
    "past the writer": lambda out: write_file(out.folder / "content.txt", b"old"),
    "a shard": _shard,
    "the manifest": _finish,
}


@pytest.fixture
def two_owners(tmp_path: Path) -> Any:
    """The writer of one process, and another's that took the output over from it."""
    out = tmp_path / "a"
    with ExitStack() as stack:
        loser = begin(out, stack.enter_context(output_lock(out)))
        loser.write("content.txt", b"old")
        lock_path(out).unlink()
        hold = stack.enter_context(output_lock(out))
        hold.adopt()
        winner = begin(out, hold, keep_partial=True)
        winner.write("content.txt", b"new")
        yield loser, winner


def _files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("checked", [True, False], ids=["checked", "lost after the check"])
@pytest.mark.parametrize("name", WRITES)
def test_no_write_reaches_the_new_owner(
    name: str, checked: bool, two_owners: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loser, winner = two_owners
    before = _files(winner.folder)
    if not checked:
        monkeypatch.setattr(Hold, "check", lambda self: None)
    with pytest.raises((Busy, StageFailed, OSError)):
        WRITES[name](loser)
    assert _files(winner.folder) == before
    monkeypatch.undo()
    finish(winner, tmp_path / "a", Result(kind="evaluation", metrics={}), **RESULT)
    assert open_artifact(tmp_path / "a").read("content.txt") == b"new"


@pytest.mark.parametrize("checked", [True, False], ids=["checked", "lost after the check"])
def test_the_finished_artifact_of_the_new_owner_stays(
    checked: bool, two_owners: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loser, winner = two_owners
    made = finish(winner, tmp_path / "a", Result(kind="evaluation", metrics={}), **RESULT)
    if not checked:
        monkeypatch.setattr(Hold, "check", lambda self: None)
    with pytest.raises((Busy, StageFailed, OSError)):
        _finish(loser)
    assert open_artifact(tmp_path / "a").manifest == made
    assert open_artifact(tmp_path / "a").read("content.txt") == b"new"


def test_an_open_log_of_the_old_owner_is_not_the_new_one(two_owners: Any) -> None:
    winner = two_owners[1]
    winner.append("log", b"one\n")
    with (winner.folder / "log").open("ab", buffering=0) as stream:  # as the old owner may have opened it before
        winner.write("log", b"one\n", content=False)  # what resuming does
        stream.write(b"of the old owner\n")
    assert (winner.folder / "log").read_bytes() == b"one\n"


@pytest.mark.parametrize("name", ["train", "evaluate", "data-tokenize"])
@pytest.mark.parametrize("finished", [True, False], ids=["after the other finished", "beside the other"])
def test_every_stage_that_loses_its_lock_ends_busy(
    name: str, finished: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run" / "a"
    job = Job(
        stage=replace(STAGES[name], module="fake_stages", inputs={}), config=PipelineConfig(), inputs={}, out=out,
        context=Context(),
    )  # fmt: skip
    run, others = fake_stages.run, ExitStack()

    def robbed(job: Job, writer: ArtifactWriter) -> Result:
        monkeypatch.setattr(fake_stages, "run", run)
        assert writer.hold is not None
        writer.append("log.jsonl", b"before\n")
        lock_path(out).unlink()
        if finished:
            run_job(job)
        else:
            others.enter_context(output_lock(out)).adopt()
        return run(job, writer)

    monkeypatch.setattr(fake_stages, "run", robbed)
    with others:
        with pytest.raises(Busy, match="took over"):
            run_job(job)
        assert (try_open(out) is not None) is finished
        left = sorted(path.name for path in out.parent.iterdir() if not path.name.endswith(".lock"))
        assert len(left) == 1
        if not finished:  # the log is where the other one goes on from
            assert (out.parent / left[0] / "log.jsonl").read_bytes() == b"before\n"


def test_two_writers_of_one_path_never_mix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where nothing is locked, as for a report: each has a temporary file of its own."""
    path, fsync = tmp_path / "report.html", os.fsync

    def overtaken(descriptor: int) -> None:
        monkeypatch.setattr(os, "fsync", fsync)
        write_file(path, b"second")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", overtaken)
    write_file(path, b"first")
    assert _files(tmp_path) == {"report.html": b"first"}


def test_the_heart_of_a_lost_lock_does_not_keep_another_alive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "HEARTBEAT_SECONDS", 0.01)
    with output_lock(tmp_path / "a"):
        lock_path(tmp_path / "a").write_text('{"host": "elsewhere", "pid": 1}')
        os.utime(lock_path(tmp_path / "a"), (5, 5))
        time.sleep(0.1)
        assert lock_path(tmp_path / "a").stat().st_mtime == 5
