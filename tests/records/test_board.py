"""Many folders, one line each; scores to compare with; and how long the reading takes."""

from __future__ import annotations

import csv
import io
import json
import time
from pathlib import Path

import pytest
from more_records_folders import CASES
from records_folders import RECORD, SCORE, Case, entries, log, logs, without, write

from golfpipe.cli.app import main
from golfpipe.errors import UsageError
from golfpipe.records.against import against_overrides


def test_a_line_for_each_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = ("everything agrees", "the largest seed counts", "no log")
    paths = [str(write(tmp_path / str(n), CASES[name])) for n, name in enumerate(names)]
    assert main(["audit", *paths]) == 4
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4 and [line.split()[0] for line in lines[1:]] == paths
    assert main(["audit", *paths, "--csv"]) == 4
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [(row["seeds"], row["total_bytes"], row["failed_rules"]) for row in rows] == [
        ("3", "15812345", ""), ("3", "16000007", "1"), ("1", "15812345", "11")]  # fmt: skip
    assert main(["audit", *paths, "--json"]) == 4
    assert [row["val_bpb"] for row in json.loads(capsys.readouterr().out)["folders"]] == pytest.approx([SCORE] * 3)
    assert main(["audit", paths[0], "--csv"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_what_cannot_be_audited_does_not_stop_the_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(write(tmp_path, CASES["everything agrees"]))
    assert main(["audit", str(tmp_path / "nothing"), path]) == 2
    assert path in capsys.readouterr().out
    assert main(["audit", path, path, "--strict", "-q"]) == 0
    assert main(["audit", path, path, "--execute", "-q"]) == 2


def test_every_statement_has_its_source(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path, Case(RECORD | {"seed_results": entries(5, artifact_bytes=15_812_345)}, logs(5), {}))
    main(["audit", str(path), "--json"])
    metrics = json.loads(capsys.readouterr().out)["metrics"]
    assert metrics["val_bpb_per_seed"] == {"5": SCORE} and metrics["seeds"] == [5]
    found = {(s["quantity"], s["source"]): (s["value"], s["unit"], s["counts"]) for s in metrics["statements"]}
    assert found["total_bytes", "train_seed5.log:6"] == (15_812_345, "bytes", True)
    assert found["total_bytes", "submission.json: seed_results.5.artifact_bytes"] == (15_812_345, "bytes", False)
    assert found["train_seconds", "train_seed5.log:3"] == (588.123, "seconds", True)
    assert found["val_bpb", "submission.json: val_bpb"] == (SCORE, "bits per byte", False)


@pytest.mark.parametrize(
    ("case", "scores"),
    [
        (Case(without("val_bpb"), {f"s{n}.log": log(n, bpb=f"1.09{n}") for n in (1, 2, 3)}, {}), [1.091, 1.092, 1.093]),
        (
            Case(
                without(val_bpb=1.05),
                {"a.log": log(1, extra="final_ttt val_bpb:1.0501"), "b.log": log(2, extra="final_ttt val_bpb:1.0499")},
                {},
            ),
            [1.0501, 1.0499],
        ),
        (Case(RECORD | {"seed_results": {"1": 1.09, "2": 1.1}}, {}, {}), [1.09, 1.1]),
        (Case(RECORD, {}, {}), [SCORE]),
        (Case(without("val_bpb", mean_val_bpb=1.07), {}, {}), [1.07]),
    ],
)
def test_the_scores_to_beat(tmp_path: Path, case: Case, scores: list[float]) -> None:
    setting, _ = against_overrides(str(write(tmp_path, case)))
    assert json.loads(setting.removeprefix("submit.against=")) == scores


def test_a_folder_without_a_score_is_nothing_to_beat(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nor a log holds a val_bpb"):
        against_overrides(str(write(tmp_path, Case(without("val_bpb", "val_loss"), {}, {}))))


def test_large_logs_take_a_fraction_of_a_second_each(tmp_path: Path) -> None:
    """64 of 16 MB are to take less than 20 s; here 4 of them, with as much room for a slow machine."""
    steps = "".join(
        f"step:{n}/20000 train_loss:2.1 val_loss:2.1 val_bpb:1.2 train_time:{n}ms\n" for n in range(240_000)
    )
    path = write(tmp_path, Case(RECORD, {f"s{n}.log": steps + log(n) for n in range(4)}, {}))
    start = time.process_time()
    assert main(["audit", str(path), "-q"]) == 0
    assert time.process_time() - start < 4
