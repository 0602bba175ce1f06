"""`golfpipe run --rehearse` as people and scripts meet it, with the real stages on a small scale."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pytest import CaptureFixture

from golfpipe.cli.app import main
from golfpipe.cli.rehearsal_text import real_command


def test_the_whole_chain_is_rehearsed_on_one_screen(
    run_folder: Path, capsys: CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    words = ["run", "artifacts/data/demo", "--name", "b", "--rehearse", "--machine", "laptop", "--threads", "1"]
    words += ["--set", "ttt.method=score_first_sgd"]
    monkeypatch.setattr("sys.argv", ["golfpipe", *words])
    assert main(words) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 24 and max(map(len, lines[:-1])) <= 80  # the command stays whole, to be pasted
    assert "the run, on laptop" in lines[1]
    states = {line.split()[0]: line.split()[1] for line in lines[2:12]}
    assert states.pop("evaluate-ttt") == "nothing"
    assert set(states.values()) == {"ok"}
    told = " ".join(" ".join(lines).split())
    command = "golfpipe run artifacts/data/demo --name b --machine laptop --threads 1 --set ttt.method=score_first_sgd"
    assert lines[-2:] == ["the run:", command]
    folder = Path("artifacts/b-rehearsal")
    submitted = json.loads((folder / "submit" / "manifest.json").read_text())["metrics"]
    assert submitted["script_verified"] is True
    assert f"{submitted['code_bytes']:,} B of script" in told
    assert not Path("artifacts/b").exists() and not (folder / "report.html").exists()


def test_what_contradicts_it_is_refused(run_folder: Path, capsys: CaptureFixture[str]) -> None:
    assert main(["run", "--rehearse", "--dry-run"]) == 2
    assert main(["run", "--rehearse", "--name", "a", "--from", "pack"]) == 2
    assert "takes neither --from nor --dry-run" in capsys.readouterr().err


@pytest.mark.usefixtures("faked_stages")
def test_json_has_what_the_run_will_take_and_the_first_error(run_folder: Path, capsys: CaptureFixture[str]) -> None:
    words = ["run", "artifacts/data/demo", "--name", "b", "--rehearse", "--set", "pack.limit_bytes=46001", "--json"]
    assert main(words) == 4
    answer = json.loads(capsys.readouterr().out)
    assert answer["rehearsal"] is True and answer["cuts"]["train.max_steps"] == 1
    stages = {stage["name"]: stage for stage in answer["stages"]}
    assert stages["pack"]["rehearsal"] == "failed" and stages["submit"]["rehearsal"] == "ok"
    assert stages["pack"]["expected"]["packed_bytes"] > 1 and "over the limit" in stages["pack"]["error"]
    assert answer["error"]["type"] == "OverLimit" and answer["command"] is None
    assert main(words[:-1]) == 4
    lines = capsys.readouterr().out.splitlines()
    assert "evaluate.max_targets=" in lines[-1] and "the run:" not in lines, "a run that would fail is not to be pasted"


def test_the_command_of_the_run_is_the_same_without_the_option() -> None:
    assert real_command(["run", "my data", "--rehearse", "--seeds", "1,2"]) == "golfpipe run 'my data' --seeds 1,2"
