"""Whatever a stranger's metrics hold, commands show what is known, or refuse by name: no metric is a bug."""

from __future__ import annotations

import contextlib
import io
import json
import math
from pathlib import Path
from typing import Any

import pytest
from fake_run import FakeRun, submit_job
from hypothesis import given
from hypothesis import strategies as st

from golfpipe.cli.app import main
from golfpipe.errors import ArtifactError
from golfpipe.jobs.run import run_job
from golfpipe.report.svg import Drawing
from golfpipe.store.metric_values import (
    MOST_COUNT,
    count,
    flag,
    mapping,
    measured,
    needed_number,
    number,
    text,
    texts,
    version,
)
from reliability.forged_fields import Field, fields, fill

WRONG: tuple[Any, ...] = ("high", 1e300, -1.5, 10**30, 10**400, True, None, [2.5], {"a": 1}, "")
NAMES = ("val_bpb", "val_loss_nats", "seconds", "step_avg_ms", "packed_bytes", "relative_mse", "steps", "method")
ANYTHING = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.lists(st.text()))


@given(st.sampled_from(NAMES), st.one_of(ANYTHING, st.sampled_from(WRONG)))
def test_every_reader_gives_its_kind_or_nothing(name: str, value: Any) -> None:
    values = {name: value}
    found = number(values, name)
    assert found is None or (math.isfinite(found) and found == value and not isinstance(value, bool))
    assert found is None or found >= 0 or name in ("packed_bytes", "relative_mse", "steps", "method")
    whole = count(values, name)
    assert whole is None or 0 <= whole == value <= MOST_COUNT
    assert text(values, name) in (None, value) and flag(values, name) in (None, value)
    assert all(isinstance(item, str) for item in texts(values, name)) and mapping(values, name) in ({}, value)
    assert version(values, name) in (None, value)
    shown = measured(values, name)
    assert shown is None or shown == value
    assert not (isinstance(shown, str) and name.endswith(("_bpb", "_nats", "seconds", "_bytes")))


def test_a_number_that_is_needed_names_file_and_field() -> None:
    assert needed_number({"val_bpb": 2}, "val_bpb", "a/evaluate") == 2.0
    for value in (*WRONG, math.nan, math.inf):
        with pytest.raises(ArtifactError, match=r"a/evaluate: field metrics\.val_bpb is "):
            needed_number({"val_bpb": value}, "val_bpb", "a/evaluate")


@pytest.mark.parametrize(
    ("value", "known"),
    [("2.12.0+cpu", True), ("1!2.0rc1.post2.dev3+a.b", True), ("2.10.0.dev20251001+cu128", True), ("2.x", False),
     ("1.0\n", False), ("1.0 ", False), ("\u0661.0", False), ("1.0+", False), ("", False)],
)  # fmt: skip
def test_versions(value: str, known: bool) -> None:
    assert (version({"torch": value}, "torch") == value) is known


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("golfpipe.stages.submit.script_obstacle", lambda config: "a fake run has none")
        for section in ("stages", "sizes", "sweep"):  # matplotlib takes seconds
            patch.setattr(f"golfpipe.report.section_{section}.drawing", lambda draw, *, name, title: Drawing(title, []))
        made = FakeRun(tmp_path_factory.mktemp("base") / "alpha").build()
        run_job(submit_job([made.open("evaluate-pack")], made.folder / "submit"))
        yield made.folder


def check_commands(run: Path, out: Path, what: object, *, few: bool = False) -> None:
    """No command calls it a bug. A few: those that read metrics in different code."""
    pack, submission = run / "evaluate-pack", run / "submit"
    words: list[list[Any]] = [["status", run], ["report", run, "--markdown"], ["compare", pack, pack],
                              ["submit", pack, "-o", out / "s"]]  # fmt: skip
    if not few:
        words += [["report", run, "-o", out / "r.html"], ["audit", pack], ["audit", submission],
                  ["submit", pack, "-o", submission], ["status", run, "--json"]]  # fmt: skip
    for command in words:
        said = io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            code = main(list(map(str, command)))
        assert "this is a bug" not in said.getvalue(), f"{what}: {command}: {said.getvalue()}"
        assert code in (0, 2, 3, 4), f"{what}: {command}"


@pytest.mark.parametrize("part", range(2))
def test_every_metric_in_turn(run: Path, tmp_path: Path, part: int) -> None:
    metrics: list[Field] = [
        field for field in fields(run, (str, int, float)) if field[0] != "manifest.json" or field[1][0] == "metrics"
    ]
    assert len(metrics) > 50
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    for number_, field in list(enumerate(metrics))[part::2]:
        wrong = WRONG[number_ % len(WRONG)]
        fill(run, field, wrong)
        check_commands(run, tmp_path / str(number_), (field, wrong), few=True)
        for path, content in before.items():
            path.write_bytes(content)


def test_all_metrics_at_once(run: Path, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    for index, wrong in enumerate(WRONG):
        for field in fields(run, (int, float)):
            if field[0] == "manifest.json" and field[1][0] == "metrics":
                fill(run, field, wrong)
        check_commands(run, tmp_path / str(index), wrong)
        for path, content in before.items():
            path.write_bytes(content)


def test_a_part_of_the_split_is_marked_as_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    part = FakeRun(tmp_path / "a", scored_targets=500, adapted=False).build().folder
    for words in (["status", part], ["report", part, "--markdown"]):
        assert main(list(map(str, words))) == 0
        assert "a part of the split" in capsys.readouterr().out
    assert main(["report", str(part), "-q"]) == 0 and capsys.readouterr()
    assert "a part of the split" in (part / "report.html").read_text()
    assert main(["evaluate", str(part / "evaluate-pack"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["metrics"]["whole_split"] is False
    assert main(["evaluate", str(part / "evaluate-pack")]) == 0
    assert "whole_split     no" in capsys.readouterr().out
