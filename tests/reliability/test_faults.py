"""The disk that fails on request: what a power cut takes, and that golfpipe's own writes are not among it."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import pytest
from fake_stages import make_artifact

from golfpipe.report.page import write_text
from golfpipe.store.artifact import open_artifact
from golfpipe.store.artifact_writer import begin
from golfpipe.store.files import make_folder, sync_folder, write_file
from golfpipe.store.lock import output_lock
from golfpipe.sweeps.results import write_results
from reliability.faults import Disk, faulty_disk

PACKAGE = Path(__file__).resolve().parents[2] / "golfpipe"


def after_power_cut(root: Path, work: Callable[[], object], kept: float = 0.0) -> list[str]:
    """The names of files and folders that are there after `work` and a power cut."""
    with faulty_disk(root, lambda point: False) as disk:
        work()
        _cut(disk, kept)
    return sorted(str(path.relative_to(root)) for path in root.rglob("*"))


def _cut(disk: Disk, kept: float) -> None:
    with mock.patch.object(os, "kill"):
        disk.cut_power(kept)


def _unsynced(root: Path) -> None:
    (root / "a").mkdir()
    with (root / "a" / "x").open("wb") as stream:
        stream.write(b"12345")
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(root / "a" / "x", root / "a" / "y")


def test_changes_of_entries_that_are_not_synced_are_lost(tmp_path: Path) -> None:
    assert after_power_cut(tmp_path, lambda: _unsynced(tmp_path)) == []


def test_each_folder_needs_its_own_sync(tmp_path: Path) -> None:
    def work() -> None:
        _unsynced(tmp_path)
        sync_folder(tmp_path / "a")

    assert after_power_cut(tmp_path, work) == []  # the folder itself is lost

    def parent() -> None:
        _unsynced(tmp_path)
        sync_folder(tmp_path)

    assert after_power_cut(tmp_path, parent) == ["a"]


def test_a_part_may_survive_in_its_order(tmp_path: Path) -> None:
    assert after_power_cut(tmp_path, lambda: _unsynced(tmp_path), kept=0.67) == ["a", "a/x"]


def test_what_was_renamed_over_or_removed_comes_back(tmp_path: Path) -> None:
    for name in ("old", "gone"):
        (tmp_path / name).write_text(name)
    (tmp_path / "folder").mkdir()

    def work() -> None:
        (tmp_path / "new").write_text("new")
        os.replace(tmp_path / "new", tmp_path / "old")
        (tmp_path / "gone").unlink()
        (tmp_path / "folder").rmdir()

    assert after_power_cut(tmp_path, work) == ["folder", "gone", "old"]
    assert (tmp_path / "old").read_text() == "old" and (tmp_path / "gone").read_text() == "gone"


def test_a_change_follows_its_renamed_folder(tmp_path: Path) -> None:
    def work() -> None:
        (tmp_path / "a").mkdir()
        (tmp_path / "a" / "x").write_text("not synced")
        os.replace(tmp_path / "a", tmp_path / "b")
        sync_folder(tmp_path)

    assert after_power_cut(tmp_path, work) == ["b"]


def test_a_replaced_folder_is_whole_again(tmp_path: Path) -> None:
    """The steps of a replacement, none of them synced, in a place where the names were in use before."""
    for name in ("out", "old"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x").write_text(name)

    def work() -> None:
        (tmp_path / "old" / "x").unlink()
        (tmp_path / "old").rmdir()
        (tmp_path / "new").mkdir()
        (tmp_path / "new" / "x").write_text("new")
        os.replace(tmp_path / "out", tmp_path / "old")
        os.replace(tmp_path / "new", tmp_path / "out")

    assert after_power_cut(tmp_path, work) == ["old", "old/x", "out", "out/x"]
    assert (tmp_path / "out" / "x").read_text() == "out" and (tmp_path / "old" / "x").read_text() == "old"


def _checkpoint(root: Path) -> None:
    with output_lock(root / "runs" / "new" / "train") as hold:
        out = begin(hold.out, hold)
        out.append("log.jsonl", b"")
        out.write("checkpoint.safetensors", b"state", content=False)


DURABLE: dict[str, tuple[Callable[[Path], object], str]] = {
    "file": (lambda root: write_file(root / "x", b"1"), "x"),
    "folder": (lambda root: make_folder(root / "a" / "b" / "c"), "a/b/c"),
    "artifact": (lambda root: make_artifact(root / "new" / "pack", "packed_model"), "new/pack/content.txt"),
    "checkpoint": (_checkpoint, "runs/new/.train.*.partial/checkpoint.safetensors"),
    "log beside a checkpoint": (_checkpoint, "runs/new/.train.*.partial/log.jsonl"),
    "report": (lambda root: write_text(root / "new" / "report.html", "page"), "new/report.html"),
    "results of a sweep": (lambda root: write_results(root / "new" / "sweep", []), "new/sweep/results.jsonl"),
}


@pytest.mark.parametrize("name", DURABLE)
def test_what_golfpipe_says_is_written_survives(name: str, tmp_path: Path) -> None:
    work, pattern = DURABLE[name]
    after_power_cut(tmp_path, lambda: work(tmp_path))
    assert list(tmp_path.glob(pattern)), list(tmp_path.rglob("*"))
    if name == "artifact":
        assert open_artifact(tmp_path / "new" / "pack").read("content.txt") == b"content"


def test_outputs_make_their_folders_in_one_way() -> None:
    """Others are caches and scratch folders of a single process, or code that runs without golfpipe."""
    own = {
        "store/files.py", "machine/own_code.py", "stages/verify_script.py", "script/entry.py",
        "submission/trial/clean_process.py", "submission/trial/data_copy.py",
    }  # fmt: skip
    found = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        if re.search(r"mkdirs?\(", path.read_text())
    }
    assert found == own
