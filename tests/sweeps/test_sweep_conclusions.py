"""What a sweep of real models concludes: the noise of each cell, and the commands that take the knee."""

from __future__ import annotations

import io
import json
import shlex
import sys
from pathlib import Path
from typing import Any

import fake_stages
import pytest
from fake_stages import make_artifact
from rich.console import Console
from sweep_inline import InlinePool

from golfpipe.cli.app import main
from golfpipe.cli.progress import BarReporter
from golfpipe.cli.sweep_view import _table
from golfpipe.errors import StageFailed
from golfpipe.jobs.run import run_job
from golfpipe.pipeline.single import Request
from golfpipe.pipeline.training import prepare_training
from golfpipe.store.artifact import open_artifact
from golfpipe.submission.comparison import compare_evaluations
from golfpipe.sweeps import noise, processes
from golfpipe.sweeps.grid import parse_grid
from golfpipe.sweeps.plan import SweepRequest, plan_sweep
from golfpipe.sweeps.run import inspect_sweep

TRAIN = Path("artifacts/a/train")
GRID = ("--grid", "quantize.mlp.bits=2,4", "--grid", "pack.coder=range,nibble")
PART = "evaluate.max_targets=1500"


@pytest.fixture(autouse=True)
def one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "ProcessPoolExecutor", InlinePool)
    monkeypatch.setattr(InlinePool, "calls", 0)


def _sweep(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    assert main(["sweep", str(TRAIN), *GRID, "--set", PART, "--json", *words]) == 0
    return json.loads(capsys.readouterr().out)  # type: ignore[no-any-return]


def test_each_cell_has_its_noise_and_the_commands_make_the_knee(
    run_folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = _sweep(capsys)["cells"]
    _check_noise(cells)
    _check_knee(cells, capsys)
    monkeypatch.setattr(noise, "_bootstrap", lambda *pair: 1 / 0)  # a second run finds the noise in the results
    again = _sweep(capsys)
    assert again["up_to_date"] is True
    assert [cell["low"] for cell in again["cells"]] == [cell["low"] for cell in cells]
    assert main(["sweep", str(TRAIN), *GRID, "--set", PART]) == 0
    _check_text(capsys.readouterr().out, cells)
    assert main(["report", "artifacts/a"]) == 0
    assert shlex.join(next(cell["commands"] for cell in cells if cell["knee"])[0]) in Path(
        "artifacts/a/report.html"
    ).read_text().replace("&#39;", "'")
    assert main(["clean", "artifacts/a", "--yes", "-q"]) == 0
    assert Path(cells[0]["artifacts"]["unquantized"]).is_dir()  # the results name it


def _check_noise(cells: list[dict[str, Any]]) -> None:
    for cell in cells:
        paired = compare_evaluations(
            Path(cell["artifacts"]["unquantized"]), Path(cell["artifacts"]["evaluate"]), resamples=noise.RESAMPLES
        ).paired
        assert (cell["low"], cell["high"]) == (paired.low, paired.high)
        assert cell["difference"] == pytest.approx(paired.difference, abs=1e-12)
        assert cell["unquantized_bpb"] + cell["difference"] == pytest.approx(cell["val_bpb"], abs=1e-12)
        assert open_artifact(Path(cell["artifacts"]["unquantized"])).manifest.metrics["model_kind"] == "trained_model"


def _check_knee(cells: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]) -> None:
    [knee] = [cell for cell in cells if cell["knee"]]
    assert knee["pareto"] and all(cell["commands"] == [] for cell in cells if cell is not knee)
    for words in knee["commands"]:
        assert words[0] == "golfpipe" and main([*words[1:], "-q"]) == 0
    made = open_artifact(Path("artifacts/a-knee/pack"))
    assert made.manifest.digest == open_artifact(Path(knee["artifacts"]["pack"])).manifest.digest
    assert made.manifest.config["evaluate"]["max_targets"] != 1500  # the next score is of the whole text
    capsys.readouterr()


def _check_text(text: str, cells: list[dict[str, Any]]) -> None:
    lines = text.splitlines()
    assert lines[0].startswith("4 cells, 4 packed: ") and lines[2].startswith("mlp.bits")
    assert lines[3].split() == ["unquantized", f"{cells[0]['unquantized_bpb']:.6f}"]
    assert sum("* knee" in line for line in lines) == 1 and "+-" in lines[4]
    assert "* no other cell is as small and better" in lines
    [knee] = [cell for cell in cells if cell["knee"]]
    assert f"take the knee: {' && '.join(map(shlex.join, knee['commands']))}" in lines


def test_without_scipy_the_differences_say_what_is_missing(
    run_folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "scipy", None)
    assert main(["sweep", str(TRAIN), "--grid", "quantize.mlp.bits=3", "--set", PART]) == 0
    text = capsys.readouterr().out
    assert "the differences have no +- beside them: the package scipy" in text
    assert "pip install 'golfpipe[significance]'" in text and "from unquantized" in text
    monkeypatch.undo()
    monkeypatch.setattr(processes, "ProcessPoolExecutor", InlinePool)
    monkeypatch.chdir(run_folder)
    assert main(["sweep", str(TRAIN), "--grid", "quantize.mlp.bits=3", "--set", PART]) == 0
    assert "half of the 95 % interval" in capsys.readouterr().out  # once it is there, nothing else is done again


@pytest.fixture
def fake_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, faked_stages: list[str]) -> None:
    monkeypatch.chdir(tmp_path)
    make_artifact(Path("artifacts/data/text"), "token_data")
    run_job(prepare_training(Request(stage="train", inputs={"data": Path("artifacts/data/text")}), "a"))
    fake_stages.CALLS.clear()


def test_unquantized_weights_without_a_score_are_a_warning(
    fake_model: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = fake_stages.run

    def run(job: Any, out: Any) -> Any:
        if job.stage.name == "evaluate" and job.inputs["model"].manifest.kind == "trained_model":
            raise StageFailed("no luck")
        return real(job, out)

    monkeypatch.setattr(fake_stages, "run", run)
    assert main(["sweep", str(TRAIN), "--grid", "quantize.mlp.bits=3,4", "--json"]) == 0
    captured = capsys.readouterr()
    assert captured.err.count("warning: the unquantized weights have no score to compare with: no luck") == 1
    assert all(cell["unquantized_bpb"] is None and cell["val_bpb"] == 1.5 for cell in json.loads(captured.out)["cells"])
    assert main(["sweep", str(TRAIN), "--grid", "quantize.mlp.bits=3,4"]) == 0
    assert "unquantized" not in capsys.readouterr().out, "nothing is compared with what has no score"


def test_cells_that_fail_themselves_need_no_score_to_compare_with(
    fake_model: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(job: Any, out: Any) -> Any:
        raise StageFailed("no luck")

    monkeypatch.setattr(fake_stages, "run", run)
    assert main(["sweep", "artifacts/data/text", "--grid", "model.num_layers=3,4"]) == 1
    captured = capsys.readouterr()
    assert captured.out.count("no luck") == 2 and "to compare with" not in captured.err


@pytest.mark.parametrize(
    ("grid", "more", "references"),
    [
        ("quantize.mlp.bits=3,4", {}, 1),
        ("evaluate.stride=8,16", {}, 2),
        ("pack.coder=range,nibble", {"stages": ("quantize", "pack")}, 0),
    ],
)
def test_there_is_one_score_of_the_unquantized_weights_for_each_way_of_scoring(
    fake_model: None, grid: str, more: Any, references: int
) -> None:
    plan = plan_sweep(SweepRequest(source=TRAIN, grids=[parse_grid([grid])], **more))
    assert len({cell.unquantized for cell in plan.cells} - {None}) == references


@pytest.mark.parametrize(("width", "height"), [(80, 24), (40, 10), (200, 50)])
def test_the_live_table_fits_the_terminal(fake_model: None, width: int, height: int) -> None:
    """A table that is higher than the terminal cannot be wiped away."""
    grid = parse_grid(["quantize.mlp.bits=2,3,4,5", "quantize.attention.bits=4,5,6,7", "pack.coder=range,nibble"])
    plan = plan_sweep(SweepRequest(source=TRAIN, grids=[grid]))
    console = Console(file=io.StringIO(), width=width, height=height, force_terminal=True)
    lines = console.render_lines(_table(plan, inspect_sweep(plan), height - 4))
    assert len(lines) < height


def test_messages_go_above_what_is_drawn() -> None:
    stream, drawn = io.StringIO(), io.StringIO()
    reporter = BarReporter(stream)
    with reporter.above(Console(file=drawn, width=40)):
        reporter.warn("long " * 20)
    reporter.note("after")
    assert stream.getvalue() == "after\n" and drawn.getvalue().startswith("warning: long")
