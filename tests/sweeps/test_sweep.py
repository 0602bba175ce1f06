"""Sweeps with stages that cost nothing, in this process: what is shared, skipped, and survived."""

from __future__ import annotations

import csv
import json
import shlex
from pathlib import Path
from typing import Any

import fake_stages
import pytest
from fake_stages import make_artifact
from sweep_inline import InlinePool

from golfpipe.cli.app import main
from golfpipe.codec.config import PackConfig
from golfpipe.errors import ConfigError, StageFailed, UsageError
from golfpipe.jobs.run import run_job
from golfpipe.pipeline.settings import Settings
from golfpipe.pipeline.single import Request
from golfpipe.pipeline.training import prepare_training
from golfpipe.store.artifact import open_artifact
from golfpipe.sweeps import processes
from golfpipe.sweeps.executor import make_workers
from golfpipe.sweeps.grid import parse_grid
from golfpipe.sweeps.plan import SweepPlan, SweepRequest, plan_sweep
from golfpipe.sweeps.results import collect, run_recorded
from golfpipe.sweeps.run import SweepRun, inspect_sweep, run_sweep
from golfpipe.sweeps.words import commands

TRAIN = Path("artifacts/a/train")
BITS = "quantize.mlp.bits=3,4,5"
CODERS = "pack.coder=range,nibble"


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, faked_stages: list[str]) -> None:
    monkeypatch.chdir(tmp_path)
    make_artifact(Path("artifacts/data/text"), "token_data")
    run_job(prepare_training(Request(stage="train", inputs={"data": Path("artifacts/data/text")}), "a"))
    monkeypatch.setattr(processes, "ProcessPoolExecutor", InlinePool)
    monkeypatch.setattr(InlinePool, "calls", 0)
    fake_stages.CALLS.clear()


def _plan(*grid: str, **more: Any) -> SweepPlan:
    return plan_sweep(SweepRequest(source=TRAIN, grids=[parse_grid(grid)], **more))


def _run(plan: SweepPlan, jobs: int = 2) -> SweepRun:
    return run_sweep(plan, make_workers(plan, jobs=jobs), lambda run: None)


def test_common_steps_are_done_once_and_finished_ones_skipped() -> None:
    run = _run(_plan(BITS, CODERS))
    assert sorted(fake_stages.CALLS) == ["evaluate"] * 7 + ["pack"] * 6 + ["quantize"] * 3
    assert [run.cell_state(index) for index in range(6)] == ["done"] * 6
    fake_stages.CALLS.clear()
    again = _run(_plan(BITS, CODERS))
    assert fake_stages.CALLS == []
    assert {again.cell_state(index) for index in range(6)} == {"up to date"}
    _run(_plan("quantize.mlp.bits=5,6", CODERS))  # another grid into the same folder
    assert sorted(fake_stages.CALLS) == ["evaluate"] * 2 + ["pack"] * 2 + ["quantize"]


def test_a_cell_holds_its_settings_and_only_those_that_its_steps_know() -> None:
    plan = _plan(BITS, CODERS, settings=Settings(overrides=("evaluate.stride=8",)))
    _run(plan)
    quantize = plan.steps[plan.cells[1].steps[0]]
    assert quantize.request.settings.overrides == ("evaluate.stride=8", "quantize.mlp.bits=3")
    last = collect(_run(plan))[1]
    config = json.loads((Path(last.artifacts["evaluate"]) / "manifest.json").read_text())["config"]
    assert (config["quantize"]["mlp"]["bits"], config["pack"]["coder"], config["evaluate"]["stride"]) == (
        3,
        "nibble",
        8,
    )


def test_the_printed_commands_do_the_same_work(capsys: pytest.CaptureFixture[str]) -> None:
    lines = commands(_plan(BITS, CODERS))
    assert len(lines) == 16
    for line in lines:
        words = shlex.split(line)
        assert words[0] == "golfpipe" and "--threads" in words
        assert main(words[1:]) == 0, line
    fake_stages.CALLS.clear()
    capsys.readouterr()
    assert main(["sweep", str(TRAIN), "--grid", BITS, "--grid", CODERS, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert fake_stages.CALLS == [] and answer["up_to_date"] is True
    assert main(["sweep", str(TRAIN), "--grid", BITS, "--grid", CODERS, "--cells", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["commands"] == lines


def _fail_for_three_bits(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    real = fake_stages.run

    def run(job: Any, out: Any) -> Any:
        if job.stage.name == "pack" and job.config.quantize.mlp.bits == 3:
            raise error
        return real(job, out)

    monkeypatch.setattr(fake_stages, "run", run)


@pytest.mark.parametrize("error", [StageFailed("no luck", hint="again"), ZeroDivisionError("division by zero")])
def test_failed_cells_are_listed_and_the_others_go_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception
) -> None:
    with monkeypatch.context() as patch:
        _fail_for_three_bits(patch, error)
        assert main(["sweep", str(TRAIN), "--grid", BITS, "--json"]) == 1
    captured = capsys.readouterr()
    answer = json.loads(captured.out)
    assert [cell["state"] for cell in answer["cells"]] == ["failed", "done", "done"]
    assert str(error) in answer["cells"][0]["error"]
    assert "1 of 3 cells failed" in captured.err
    rows = list(csv.DictReader(Path("artifacts/a/sweep/results.csv").read_text().splitlines()))
    assert [row["state"] for row in rows] == ["failed", "done", "done"]
    assert rows[1]["total_bytes"] == str(600 + PackConfig().code_bytes_reserve)
    assert main(["sweep", str(TRAIN), "--grid", BITS]) == 0  # tries it again, and it alone
    assert "2 cells are up to date" in capsys.readouterr().err


def test_a_process_that_dies_costs_its_own_cell_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    # Two at a time: 0 and 1 die together, then each runs alone, and only the first of them dies again.
    monkeypatch.setattr(InlinePool, "dies_at", frozenset({1, 2, 4}))
    run = _run(_plan(BITS))
    states = [run.cell_state(index) for index in range(3)]
    assert states.count("failed") == 1 and states.count("done") == 2
    failed = next(step for step in run.steps.values() if step.error == "its process died")
    assert "-j" in str(failed.hint)


def test_an_interrupt_leaves_what_is_finished(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted_results() -> list[str]:
        lines = Path("artifacts/a/sweep/results.jsonl").read_text().splitlines()
        return [json.loads(line)["state"] for line in lines]

    def interrupt(run: SweepRun) -> None:
        if any(run.cell_state(index) == "done" for index in range(3)):
            raise KeyboardInterrupt

    plan = _plan(BITS)
    with pytest.raises(KeyboardInterrupt):
        run_recorded(plan, make_workers(plan, jobs=1), interrupt)
    done = len(fake_stages.CALLS)
    assert 4 <= done < 10
    interrupted = interrupted_results()
    assert interrupted[0] == "done" and interrupted[-1] == "waiting"
    _run(_plan(BITS))
    assert len(fake_stages.CALLS) == 10


def test_a_picture_that_fails_is_a_warning_and_leaves_no_older_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sweep", str(TRAIN), "--grid", BITS]) == 0
    assert Path("artifacts/a/sweep/pareto.png").is_file() and "plot " in capsys.readouterr().out
    with monkeypatch.context() as patch:
        patch.setattr("golfpipe.report.pareto.render_png", lambda draw, height: 1 / 0)
        assert main(["sweep", str(TRAIN), "--grid", CODERS]) == 0
    captured = capsys.readouterr()
    assert "warning: artifacts/a/sweep/pareto.png was not made: ZeroDivisionError" in captured.err
    assert not Path("artifacts/a/sweep/pareto.png").exists() and "plot " not in captured.out
    assert len(Path("artifacts/a/sweep/results.jsonl").read_text().splitlines()) == 2


def test_dry_run_writes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sweep", str(TRAIN), "--grid", BITS, "--dry-run"]) == 0
    assert "10 of 10 steps would run" in capsys.readouterr().out
    assert not Path("artifacts/a/sweep").exists()
    _run(_plan(BITS))
    assert all(step.state == "up to date" for step in inspect_sweep(_plan(BITS)).steps.values())


def test_score_first_ttt_is_the_score() -> None:
    plan = _plan("ttt.method=cosine,score_first_sgd", stages=("quantize", "pack", "ttt", "evaluate"))
    assert [len(cell.steps) for cell in plan.cells] == [4, 3]
    assert all(row.val_bpb == 1.5 for row in collect(_run(plan)))


@pytest.mark.parametrize(
    ("grid", "more", "error", "message"),
    [
        ("train.max_steps=1,2", {}, ConfigError, "train.max_steps: decides nothing"),
        ("ttt.method=cosine", {}, ConfigError, "decides nothing in the stages quantize, pack, evaluate"),
        ("pack.coder=range", {"stages": ("pack", "evaluate")}, ConfigError, "pack takes a quantized_model"),
        ("pack.coder=range", {"stages": ("pack", "quantize")}, ConfigError, "in the order"),
        ("pack.coder=range", {"stages": ("submit",)}, ConfigError, "submit cannot be swept"),
        ("model.num_layers=2", {}, ConfigError, "model.num_layers: decides nothing"),
        ("pack.coder=range,zip", {}, ConfigError, "pack.coder"),
    ],
)
def test_mistakes_are_found_before_anything_runs(grid: str, more: Any, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        _plan(grid, **more)
    assert fake_stages.CALLS == []


def test_a_sweep_needs_a_grid() -> None:
    with pytest.raises(UsageError, match="needs a grid"):
        plan_sweep(SweepRequest(source=TRAIN, grids=[]))


@pytest.mark.parametrize("at_hand", [True, False])
def test_cells_under_a_target_calibrate_where_the_training_data_is_at_hand(at_hand: bool) -> None:
    data = Path("artifacts/data/full")
    make_artifact(data, "token_data", metrics={"train_tokens": 5000})
    run_job(prepare_training(Request(stage="train", inputs={"data": data}), "b"))
    if not at_hand:
        (data / "content.txt").unlink()  # a shard that is not on this machine
    grid = [parse_grid(["quantize.target_bytes=none,60e3"])]
    plan = plan_sweep(SweepRequest(source=Path("artifacts/b/train"), grids=grid, stages=("quantize",)))
    _run(plan)
    found = {}
    for step in plan.steps.values():
        manifest = open_artifact(step.out).manifest
        settings = manifest.config["quantize"]
        found[settings["target_bytes"]] = (settings["calibration"], manifest.input("data") is not None)
        command = next(words for words in map(shlex.split, commands(plan)) if str(step.out) in words)
        assert (str(data.resolve()) in command or str(data) in command) == found[settings["target_bytes"]][1]
    assert found == {"none": ("none", False), 60_000.0: ("train", True) if at_hand else ("none", False)}
