"""A folder that cannot be written: what is up to date there is only looked at, and every command ends with 0."""

from __future__ import annotations

import errno
import json
import os
import shlex
from pathlib import Path

import fake_stages
import pytest
from fake_stages import make_artifact
from sweep_inline import InlinePool

from golfpipe.cli.app import main
from golfpipe.store.files import old_folder
from golfpipe.store.lock import lock_path
from golfpipe.sweeps import processes
from reliability.faults import Point, faulty_disk

RUN = "run artifacts/data/text --name a --until quantize"
STEPS = (
    "train artifacts/data/text --name a",
    "quantize artifacts/a/train",
    "pack artifacts/a/quantize",
    "ttt artifacts/a/pack",
    "evaluate artifacts/a/pack",
    "evaluate artifacts/a/train",
    "sweep artifacts/a/train --grid quantize.mlp.bits=3,4",
    "submit artifacts/a/evaluate-pack",
)


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, faked_stages: list[str]) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(processes, "ProcessPoolExecutor", InlinePool)
    make_artifact(Path("artifacts/data/text"), "token_data")
    return tmp_path


def refuse(point: Point) -> bool:
    raise OSError(errno.EROFS, os.strerror(errno.EROFS), point.path)


def test_up_to_date_steps_write_nothing(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for line in STEPS:
        assert main(shlex.split(line)) == 0, line
    fake_stages.CALLS.clear()
    for line in STEPS:
        capsys.readouterr()
        with faulty_disk(place, refuse) as disk:
            assert main([*shlex.split(line), "--json"]) == 0, line
        assert disk.points == [], line
        assert json.loads(capsys.readouterr().out)["up_to_date"] is True
    assert fake_stages.CALLS == []


def test_a_run_that_is_up_to_date_warns_of_its_report(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("golfpipe.report.page.read_runs", lambda folder: [folder])  # the fake stages have no numbers
    monkeypatch.setattr("golfpipe.report.page.page", lambda runs, reporter, samples: "a page")
    assert main(shlex.split(RUN)) == 0
    Path("artifacts/a/report.html").unlink()
    capsys.readouterr()
    with faulty_disk(place, refuse):
        assert main([*shlex.split(RUN), "--json"]) == 0
    answer, said = capsys.readouterr()
    assert (
        "artifacts/a/report.html was not made: artifacts/a/report.html: cannot be written: Read-only file system"
        in said
    )
    assert json.loads(answer)["report"] is None


def test_what_a_crash_left_beside_it_is_no_obstacle(place: Path) -> None:
    main(shlex.split(STEPS[0]))
    main(shlex.split(STEPS[1]))
    out = Path("artifacts/a/quantize")
    old_folder(out).mkdir()
    lock_path(out).write_text("{}")
    with faulty_disk(place, refuse):
        assert main(shlex.split(STEPS[1])) == 0
    os.utime(lock_path(out), (0, 0))
    assert main(shlex.split(STEPS[1])) == 0
    assert not old_folder(out).exists() and not lock_path(out).exists()


def test_where_there_is_work_the_message_says_why_it_cannot_be_done(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(shlex.split(STEPS[0]))
    capsys.readouterr()
    with faulty_disk(place, refuse):
        assert main(shlex.split(STEPS[1])) == 1
    assert "cannot be written: Read-only file system" in capsys.readouterr().err
