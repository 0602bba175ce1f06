"""Shards that change while they are in use are noticed, and what only looks like a change is not."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from fake_stages import make_artifact

from golfpipe.data.shard_watch import ShardWatch
from golfpipe.errors import ArtifactError
from golfpipe.store.artifact import Artifact
from golfpipe.store.artifact_writer import begin, finish
from golfpipe.store.manifest import Result

NAME = "train_000000.bin"


@pytest.fixture
def data(tmp_path: Path) -> Artifact:
    writer = begin(tmp_path / "data")
    for name in (NAME, "val_000000.bin"):
        writer.write(name, b"tokens")
    empty = make_artifact(tmp_path / "other", "token_data").manifest
    result = Result(kind="token_data", metrics={})
    values = {"key": empty.key, "config": empty.config, "inputs": (), "provenance": {}}
    time.sleep(0.02)  # the clock of a file system ticks every few milliseconds
    return Artifact(tmp_path / "data", finish(writer, tmp_path / "data", result, stage="fake", **values))


def _in_place(path: Path) -> None:
    path.write_bytes(b"nekots")


def _in_place_with_its_old_time(path: Path) -> None:
    before = path.stat()
    path.write_bytes(b"nekots")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def _another_file(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(b"nekots")
    os.replace(other, path)


def _there_and_back(path: Path) -> None:
    path.write_bytes(b"nekots")
    path.write_bytes(b"tokens")


@pytest.mark.parametrize(
    "change",
    [
        _in_place,
        _in_place_with_its_old_time,
        _another_file,
        _there_and_back,
        lambda path: os.truncate(path, 3),
        lambda path: path.write_bytes(b"tokens and more"),
    ],
)
@pytest.mark.parametrize("name", [NAME, "val_000000.bin"])
def test_a_change_is_noticed(data: Artifact, name: str, change: Callable[[Path], object]) -> None:
    watch = ShardWatch(data, "the hint")
    watch.verify()
    change(data.path / name)
    with pytest.raises(ArtifactError, match=f"{name}: was changed while it was in use") as caught:
        watch.check()
    assert caught.value.hint == "the hint"


def test_what_leaves_no_trace_is_found_by_the_content(data: Artifact, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("golfpipe.data.shard_watch._identity", lambda path: (1, 2, 3, 4))
    watch = ShardWatch(data, "")
    _in_place(data.path / NAME)
    watch.check()
    with pytest.raises(ArtifactError, match="was changed"):
        watch.verify()


@pytest.mark.parametrize(
    "change",
    [
        lambda path: path.chmod(0o400),
        lambda path: os.link(path, path.with_name("backup")),
        lambda path: path.read_bytes(),
        lambda path: path.with_name("new_000000.bin").write_bytes(b"x"),
    ],
)
def test_what_leaves_the_content_alone_is_no_change(data: Artifact, change: Callable[[Path], object]) -> None:
    watch = ShardWatch(data, "")
    change(data.path / NAME)
    watch.check()
    watch.verify()


def test_a_shard_that_is_left_out_or_gone_is_for_its_reader(data: Artifact, tmp_path: Path) -> None:
    watch = ShardWatch(data, "")
    watch.leave_out([NAME])
    _in_place(data.path / NAME)
    watch.verify()
    shutil.move(data.path / "val_000000.bin", tmp_path / "away")
    watch.check()
    with pytest.raises(ArtifactError):
        watch.verify()
