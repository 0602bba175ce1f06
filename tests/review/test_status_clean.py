"""What `status` sees in a run folder, and what `clean` takes from it and leaves."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from fake_stages import make_artifact
from sweep_inline import in_this_process

from golfpipe.cli.app import main
from golfpipe.codec.config import PackConfig
from golfpipe.errors import Busy, Interrupted, UsageError
from golfpipe.jobs.job import Context
from golfpipe.jobs.run import run_job
from golfpipe.jobs.unfinished import protect
from golfpipe.loading.lineage import trace
from golfpipe.pipeline.settings import Settings
from golfpipe.pipeline.single import Request, prepare
from golfpipe.pipeline.training import prepare_training
from golfpipe.review.clean import find_removable, remove
from golfpipe.review.remake import remake_command
from golfpipe.review.status import RunStatus, StatusLine, run_status
from golfpipe.store.artifact import open_artifact
from golfpipe.store.files import partial_folder
from golfpipe.store.lock import lock_path, output_lock

DATA, RUN = Path("artifacts/data/text"), Path("artifacts/a")


@pytest.fixture(autouse=True)
def run_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, faked_stages: list[str]) -> None:
    monkeypatch.chdir(tmp_path)
    make_artifact(DATA, "token_data")
    _train()
    _stage("quantize", "train")
    _stage("pack", "quantize")
    _stage("evaluate", "pack")


def _train(*overrides: str, force: bool = False, name: str = "a") -> None:
    request = Request(
        stage="train", inputs={"data": DATA}, settings=Settings(overrides=overrides), context=Context(force=force)
    )
    run_job(prepare_training(request, name))


def _stage(stage: str, model: str, *overrides: str, out: str | None = None, data: Path | None = None) -> None:
    inputs: dict[str, Path | None] = {"model": RUN / model}
    if stage in ("evaluate", "ttt") or data is not None:
        inputs["data"] = data
    path = RUN / out if out is not None else None
    run_job(prepare(Request(stage=stage, inputs=inputs, settings=Settings(overrides=overrides), out=path)))


def _line(status: RunStatus, name: str) -> StatusLine:
    return next(line for line in status.lines if line.name == name)


def test_a_fresh_run_is_up_to_date_where_it_exists() -> None:
    status = run_status(RUN)
    states = {line.name: line.state for line in status.lines}
    assert [states[name] for name in ("data", "train", "quantize", "pack", "evaluate-pack")] == ["up to date"] * 5
    assert states["ttt"] == states["submit"] == "missing"
    assert status.stale == ()


def test_a_step_whose_input_was_made_again_is_stale_and_so_is_what_follows() -> None:
    _stage("quantize", "train", "quantize.mlp.bits=5")
    status = run_status(RUN)
    assert _line(status, "quantize").state == "up to date"
    assert "input model" in _line(status, "pack").reasons[0]
    assert "(pending pack)" in _line(status, "evaluate-pack").reasons[0]
    assert [line.name for line in status.stale] == ["pack", "evaluate-pack"]


def test_given_settings_are_what_run_would_do() -> None:
    status = run_status(RUN, Settings(overrides=("pack.coder=nibble",)))
    assert _line(status, "pack").reasons == ("config pack.coder: range -> nibble",)
    assert _line(status, "quantize").state == "up to date"


def test_artifacts_beside_the_pipeline_follow_their_inputs() -> None:
    _stage("pack", "quantize", "pack.coder=nibble", out="small")
    assert _line(run_status(RUN), "small").state == "as made"
    _stage("quantize", "train", "quantize.mlp.bits=5")
    line = _line(run_status(RUN), "small")
    assert (line.state, line.in_pipeline) == ("stale", False)
    assert "input model" in line.reasons[0]


OTHER = Path("artifacts/data/other")


@pytest.mark.parametrize("out", ["evaluate-other", "a-first", "evaluate-pack", "quantize"])
def test_other_data_is_not_the_runs_data_and_nothing_is_removed_for_it(out: str) -> None:
    make_artifact(OTHER, "token_data", metrics={"train_tokens": 5})
    if out == "quantize":
        _stage("quantize", "train", "quantize.calibration=train", out=out, data=OTHER)
        _stage("pack", "quantize")
        _stage("evaluate", "pack")
    else:
        _stage("evaluate", "pack", out=out, data=OTHER)
    status = run_status(RUN)
    assert _line(status, "data").path.resolve() == DATA.resolve()
    assert {line.name for line in status.stale} <= {out, "pack", "evaluate-pack"}
    assert _line(status, "train").state == "up to date"
    assert find_removable(RUN) == []
    behind = trace(open_artifact(RUN / "pack")).data
    assert behind is not None and behind.path.resolve() == DATA.resolve()
    scored = [ref.path for ref in open_artifact(RUN / "evaluate-pack").manifest.inputs if ref.role == "data"]
    assert scored == [str((OTHER if out == "evaluate-pack" else DATA).resolve())]


def test_an_evaluation_of_an_adapted_model_takes_the_text_that_it_was_adapted_to() -> None:
    make_artifact(OTHER, "token_data", metrics={"train_tokens": 5})
    _stage("ttt", "pack", "ttt.method=cosine", data=OTHER)
    _stage("evaluate", "ttt")
    data = open_artifact(RUN / "evaluate-ttt").manifest.input("data")
    assert data is not None and data.path == str(OTHER.resolve())
    assert _line(run_status(RUN), "data").path.resolve() == DATA.resolve()


def test_a_moved_run_stays_up_to_date(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    RUN.rename("artifacts/b")
    assert run_status(Path("artifacts/b")).stale == ()
    monkeypatch.chdir(tmp_path / "artifacts")
    assert run_status(Path("b")).stale == ()


def test_damage_locks_and_interruptions_are_shown() -> None:
    (RUN / "pack" / "content.txt").write_bytes(b"x")
    assert "files are missing or cut short" in _line(run_status(RUN), "pack").reasons[0]
    (RUN / "pack" / "manifest.json").write_text("{")
    assert _line(run_status(RUN), "pack").state == "damaged"
    with output_lock(RUN / "quantize"):
        line = _line(run_status(RUN), "quantize")
        assert (line.state, line.reasons) == ("being written", (f"by process {os.getpid()}",))


def test_verify_reads_every_file_the_shards_too() -> None:
    for folder, name in ((DATA, "data"), (RUN / "train", "train"), (RUN / "pack", "pack")):
        path = folder / "content.txt"
        before = path.read_bytes()
        path.write_bytes(bytes([before[0] ^ 1]) + before[1:])
        assert not run_status(RUN).damaged
        line = run_status(RUN, verify=True).damaged
        assert [found.name for found in line] == [name]
        assert "sha256 differs" in line[0].reasons[0]
        path.write_bytes(before)
    assert not run_status(RUN, verify=True).damaged


def test_a_command_that_makes_it_again_is_named_only_where_its_input_is_there() -> None:
    pack = open_artifact(RUN / "pack")
    assert remake_command(pack) is not None
    assert remake_command(open_artifact(RUN / "train")) is None
    shutil.rmtree(RUN / "quantize")
    assert remake_command(pack) is None


def _interrupt_training(monkeypatch: pytest.MonkeyPatch, *overrides: str, force: bool = False, name: str = "a") -> Path:
    def stop(job: Any, out: Any) -> None:
        out.path("log.jsonl").write_text('{"type": "step", "step": 41}\n{"type": "step", "step": 42}\n{"cut')
        protect(job, out)
        out.path("checkpoint.safetensors").write_bytes(b"state")
        raise Interrupted("stopped")

    settings = Settings(overrides=overrides)
    request = Request(stage="train", inputs={"data": DATA}, settings=settings, context=Context(force=force))
    with monkeypatch.context() as patch:
        patch.setattr("fake_stages.run", stop)
        with pytest.raises(Interrupted):
            run_job(prepare_training(request, name))
    return partial_folder(Path("artifacts") / name / "train")


def test_interrupted_training_shows_how_far_it_came(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    partial = _interrupt_training(monkeypatch, name="b")
    line = _line(run_status(Path("artifacts/b")), "train")
    assert line.state == "unfinished"
    assert "after step 42" in line.reasons[0] and "--resume -o artifacts/b/train" in line.reasons[0]
    assert main(["clean", "artifacts/b", "--yes"]) == 0  # hours of work stay
    assert partial.is_dir()
    assert main(["clean", "artifacts/b/train", "--yes"]) == 0  # unless they are named
    assert not partial.exists()


def test_status_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", str(RUN)]) == 0
    out = capsys.readouterr().out
    assert f"{600 + PackConfig().code_bytes_reserve:,} B of 16,000,000 B" in out and "missing" in out
    assert len(out.splitlines()) < 24
    _stage("quantize", "train", "quantize.mlp.bits=5")
    assert main(["status", str(RUN), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["up_to_date"] is False
    assert {stage["name"]: stage["state"] for stage in answer["stages"]}["pack"] == "stale"


@pytest.mark.parametrize("path", ["nowhere", "artifacts/a/train", "artifacts/empty"])
def test_what_is_no_run_is_refused(path: str) -> None:
    Path("artifacts/empty").mkdir()
    with pytest.raises(UsageError):
        run_status(Path(path))


# ---- clean ------------------------------------------------------------------------------------------------------


def _dead_lock(out: Path) -> Path:
    child = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True, check=True
    )

    path = lock_path(out)
    path.write_text(json.dumps({"host": socket.gethostname(), "pid": int(child.stdout), "started": "0", "token": "x"}))
    return path


def test_leftovers_and_stale_artifacts_go_and_the_rest_stays(capsys: pytest.CaptureFixture[str]) -> None:
    _train("train.max_steps=9", force=True)  # now everything after it is stale
    partial, old = RUN / ".pack.partial", RUN / ".quantize.old"
    for path in (partial, old):
        path.mkdir()
        (path / "x").write_bytes(b"12345")
    lock = _dead_lock(RUN / "pack")
    temporary = RUN / ".report.html.tmp"
    temporary.write_text("x")
    young = RUN / ".young.tmp"
    young.write_text("x")
    draft = RUN / ".pack.lock.0123456789ab"
    draft.write_text("x")
    past = time.time() - 7200
    for path in (temporary, draft):
        os.utime(path, (past, past))
    assert main(["clean", str(RUN)]) == 0
    shown = capsys.readouterr().out
    assert "--yes removes them" in shown and partial.is_dir() and lock.is_file()
    assert main(["clean", str(RUN), "--yes", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    gone = {Path(item["path"]).name for item in answer["removable"]}
    assert gone == {
        ".pack.partial",
        ".quantize.old",
        ".pack.lock",
        ".pack.lock.0123456789ab",
        ".report.html.tmp",
        "quantize",
        "pack",
        "evaluate-pack",
    }
    assert answer["metrics"]["freed_bytes"] == sum(item["bytes"] for item in answer["removable"])
    assert sorted(path.name for path in RUN.iterdir()) == [".young.tmp", "train"]
    assert DATA.is_dir()
    assert main(["clean", str(RUN)]) == 0
    assert "nothing to remove" in capsys.readouterr().out


def test_a_stale_trained_model_or_submission_stays_unless_named() -> None:
    make_artifact(DATA, "token_data", metrics={"train_tokens": 1})  # other data: even train is stale
    assert "train" in {line.name for line in run_status(RUN).stale}
    assert "train" not in {item.path.name for item in find_removable(RUN)}
    named = find_removable(RUN / "train")
    assert [(item.path, item.why) for item in named] == [(RUN / "train", "trained_model, named")]
    remove(named)
    assert not (RUN / "train").exists() and (RUN / "pack").is_dir()


def test_old_checkpoints_go_where_a_newer_model_is_finished(monkeypatch: pytest.MonkeyPatch) -> None:
    partial = _interrupt_training(monkeypatch, force=True)
    assert find_removable(RUN) == []  # newer than the finished model: somebody may resume it
    past = time.time() - 1000
    for path in partial.iterdir():
        os.utime(path, (past, past))
    assert [item.path for item in find_removable(RUN)] == [partial]


@pytest.mark.parametrize(
    "what", ["data gone", "data made again", "model gone", "input damaged", "damaged", "other run"]
)
def test_what_is_stale_but_not_superseded_stays(what: str) -> None:
    """Each of these makes steps stale, and nothing there can take their place."""
    if what == "data gone":
        DATA.rename("artifacts/data/moved-far")
        Path("artifacts/data/moved-far/manifest.json").unlink()
    elif what == "data made again":
        make_artifact(DATA, "token_data", metrics={"train_tokens": 1})
    elif what == "model gone":
        shutil.rmtree(RUN / "quantize")
    elif what == "input damaged":
        _stage("quantize", "train", "quantize.mlp.bits=5")
        (RUN / "quantize" / "content.txt").write_bytes(b"x" * 32)  # the size stays
    elif what == "damaged":
        (RUN / "pack" / "content.txt").write_bytes(b"x")
    else:
        _train("train.max_steps=9", name="b")
        run_job(prepare(Request(stage="quantize", inputs={"model": Path("artifacts/b/train")}, out=RUN / "quantize")))
        shutil.rmtree("artifacts/b")
        shutil.rmtree(RUN / "pack")
        shutil.rmtree(RUN / "evaluate-pack")
    assert any(line.state in ("stale", "missing") for line in run_status(RUN).lines if line.name != "ttt")
    assert find_removable(RUN) == []


def test_a_copy_of_the_old_model_keeps_what_was_made_from_it() -> None:
    shutil.copytree(RUN / "quantize", RUN / "six-bits")
    _stage("quantize", "train", "quantize.mlp.bits=5")
    assert [line.name for line in run_status(RUN).stale] == ["pack", "evaluate-pack"]
    assert find_removable(RUN) == []


def test_a_folder_that_was_complete_when_its_process_died_stays() -> None:
    (RUN / "evaluate-pack").rename(RUN / ".evaluate-pack.partial")
    assert find_removable(RUN) == []
    _stage("evaluate", "pack")
    assert (RUN / "evaluate-pack").is_dir() and not (RUN / ".evaluate-pack.partial").exists()


def test_the_checkpoint_of_another_training_than_the_finished_one_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    partial = _interrupt_training(monkeypatch, "train.max_steps=9", force=True)
    past = time.time() - 1000
    for path in partial.iterdir():
        os.utime(path, (past, past))
    assert find_removable(RUN) == []


def test_a_replaced_folder_stays_where_the_new_one_is_damaged() -> None:
    shutil.copytree(RUN / "pack", RUN / ".pack.old")
    (RUN / "pack" / "content.txt").write_bytes(b"x" * 32)
    assert find_removable(RUN) == []


def test_an_old_folder_that_is_the_only_one_stays() -> None:
    (RUN / "pack").rename(RUN / ".pack.old")
    assert ".pack.old" not in {item.path.name for item in find_removable(RUN)}


def test_what_is_being_written_stays() -> None:
    with output_lock(RUN / "train"), pytest.raises(Busy):
        find_removable(RUN / "train")
    _stage("quantize", "train", "quantize.mlp.bits=5")
    items = find_removable(RUN)
    with output_lock(RUN / "pack"):
        assert remove(items) < sum(item.bytes for item in items)
    assert (RUN / "pack").is_dir()


def test_cells_of_an_earlier_sweep_go_and_shared_steps_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    in_this_process(monkeypatch)
    assert (
        main(
            ["sweep", str(RUN / "train"), "--grid", "quantize.mlp.bits=3,4", "--grid", "pack.coder=range,nibble", "-q"]
        )
        == 0
    )
    assert main(["sweep", str(RUN / "train"), "--grid", "quantize.mlp.bits=3", "--grid", "pack.coder=range", "-q"]) == 0
    results = RUN / "sweep" / "results.jsonl"
    rows = results.read_text()
    for damaged in ("", rows + "{", rows.replace('"done"', '"waiting"'), rows.replace("pack-", "lost-")):
        results.write_text(damaged)
        assert find_removable(RUN) == []  # nothing says that these cells are those of an earlier sweep
    results.write_text(rows)
    remove(find_removable(RUN))
    cells = sorted(path.name.partition("-")[0] for path in (RUN / "sweep" / "cells").iterdir())
    assert cells == ["evaluate", "evaluate", "pack", "quantize"]  # one evaluation is of the unquantized weights
    assert (
        main(
            [
                "sweep",
                str(RUN / "train"),
                "--grid",
                "quantize.mlp.bits=3",
                "--grid",
                "pack.coder=range",
                "--dry-run",
                "-q",
            ]
        )
        == 0
    )


def test_folders_of_others_are_refused() -> None:
    Path("mine").mkdir()
    Path("mine/file.txt").write_text("x")
    with pytest.raises(UsageError, match=r"nothing of golfpipe's"):
        find_removable(Path("mine"))
