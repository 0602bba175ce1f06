"""The list of all runs: their states, what is known of each, and that hundreds are listed in a second."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fake_run import FakeRun

import golfpipe
from golfpipe.cli.app import main
from golfpipe.errors import UsageError
from golfpipe.review.runs import RunLine, list_runs
from golfpipe.store.lock import output_lock


@pytest.fixture
def artifacts(tmp_path: Path) -> Path:
    folder = tmp_path / "artifacts"
    FakeRun(folder / "a").build()
    return folder


def _runs(folder: Path) -> dict[str, RunLine]:
    return {line.name: line for line in list_runs(folder, "demo")}


def test_a_finished_run_is_listed_with_its_numbers(artifacts: Path) -> None:
    line = _runs(artifacts)["a"]
    assert (line.state, line.preset, line.steps) == ("finished", "tiny", 250)
    assert (line.val_bpb, line.scored) == (pytest.approx(2.6225), "packed")
    assert line.total_bytes is not None and line.total_bytes >= 40_000
    assert time.time() - 60 < line.written_unix <= time.time()


def test_the_newest_run_comes_first_and_one_run_may_be_named(artifacts: Path) -> None:
    shutil.copytree(artifacts / "a", artifacts / "deeper" / "old")
    for path in (artifacts / "deeper").rglob("manifest.json"):
        os.utime(path, (1000, 1000))
    assert [line.name for line in list_runs(artifacts, "demo")] == ["a", "deeper/old"]
    assert [line.name for line in list_runs(artifacts / "a", "demo")] == ["a"]


def test_each_state_is_told(artifacts: Path) -> None:
    def copy(name: str) -> Path:
        shutil.copytree(artifacts / "a", artifacts / name)
        return artifacts / name

    (copy("cut") / "pack" / "packed.safetensors").write_bytes(b"x")
    (copy("unreadable") / "pack" / "manifest.json").write_text("{")
    interrupted = copy("interrupted")
    shutil.rmtree(interrupted / "train")
    (interrupted / ".train.partial").mkdir()
    (interrupted / ".train.partial" / "log.jsonl").write_text('{"type": "step", "step": 42}\n')
    other = FakeRun(artifacts / "stale").build()
    other.packed_size += 1
    other.pack(other.open("quantize"))
    with output_lock(artifacts / "a" / "submit"):
        runs = _runs(artifacts)
    states = {name: line.state for name, line in runs.items()}
    assert states == {
        "a": "running",
        "cut": "damaged",
        "unreadable": "damaged",
        "interrupted": "unfinished",
        "stale": "stale",
    }
    assert (runs["interrupted"].steps, runs["interrupted"].preset) == (42, None)


def test_what_is_no_run_is_not_listed(artifacts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (artifacts / "data").mkdir()
    (artifacts / "a" / "data").rename(artifacts / "data" / "x")
    cells = artifacts / "a-sweep" / "cells"
    shutil.copytree(artifacts / "a", cells / "1")
    (cells.parent / "results.jsonl").write_text("")
    assert {name: line.state for name, line in _runs(artifacts).items()} == {"a": "finished", "a-sweep": "sweep"}
    empty = artifacts / "empty"
    empty.mkdir()
    assert list_runs(empty, "demo") == []
    assert main(["ls", str(empty)]) == 0
    assert "no runs yet" in capsys.readouterr().out
    with pytest.raises(UsageError, match="no such folder"):
        list_runs(artifacts / "nowhere", "demo")


def test_the_table_fits_a_terminal_and_json_has_all(
    artifacts: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (artifacts / "a").rename(artifacts / "a-name-that-somebody-made-far-too-long")
    assert main(["ls", str(artifacts)]) == 0
    shown = capsys.readouterr().out
    assert "a-name-t...oo-long  finished  tiny" in shown and "1 run: 1 finished" in shown
    assert max(map(len, shown.splitlines())) <= 80
    assert main(["ls", str(artifacts), "--json"]) == 0
    (run,) = json.loads(capsys.readouterr().out)["runs"]
    assert run["name"] == "a-name-that-somebody-made-far-too-long"
    monkeypatch.chdir(artifacts.parent)
    assert [line.path.name for line in golfpipe.ls()] == [run["name"]]


def test_three_hundred_runs_take_less_than_a_second(artifacts: Path) -> None:
    for number in range(299):
        shutil.copytree(artifacts / "a", artifacts / f"run-{number}", copy_function=os.link)
    before = time.process_time()
    assert len(list_runs(artifacts, "demo")) == 300
    assert time.process_time() - before < 1
    code = f"import sys, golfpipe; golfpipe.ls({str(artifacts)!r}); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"
