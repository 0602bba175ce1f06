"""A sweep through submitit: what goes into which array, with stages that cost nothing and tasks in this process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fake_stages
import pytest
from fake_stages import make_artifact
from sweep_inline import in_this_process

from golfpipe.errors import ConfigError, StageFailed, UsageError
from golfpipe.jobs.run import run_job
from golfpipe.pipeline.single import Request
from golfpipe.pipeline.training import prepare_training
from golfpipe.sweeps.executor import make_workers
from golfpipe.sweeps.grid import parse_grid
from golfpipe.sweeps.plan import SweepPlan, SweepRequest, plan_sweep
from golfpipe.sweeps.run import SweepRun, run_sweep
from golfpipe.sweeps.slurm import SlurmWorkers, minutes, parse_slurm_options, submitit_parameters

submitit = pytest.importorskip("submitit")
TRAIN = Path("artifacts/a/train")
BITS, CODERS = "quantize.mlp.bits=3,4,5", "pack.coder=range,nibble"


@pytest.fixture
def arrays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, faked_stages: list[str]) -> list[list[list[str]]]:
    """Per submission, the stages of each task."""
    monkeypatch.chdir(tmp_path)
    make_artifact(Path("artifacts/data/text"), "token_data")
    run_job(prepare_training(Request(stage="train", inputs={"data": Path("artifacts/data/text")}), "a"))
    fake_stages.CALLS.clear()
    in_this_process(monkeypatch)
    seen: list[list[list[str]]] = []
    submit = SlurmWorkers.submit

    def noted(self: SlurmWorkers, chains: Any) -> Any:
        seen.append([[request.stage for request in chain] for chain in chains])
        return submit(self, chains)

    monkeypatch.setattr(SlurmWorkers, "submit", noted)
    return seen


def _plan(*grid: str) -> SweepPlan:
    return plan_sweep(SweepRequest(source=TRAIN, grids=[parse_grid(grid)]))


def _run(plan: SweepPlan, jobs: int | None = None) -> SweepRun:
    workers = SlurmWorkers(plan.folder, threads=1, jobs=jobs, options={}, cluster="debug")
    return run_sweep(plan, workers, lambda run: None)


def test_shared_steps_are_one_array_and_the_cells_another(arrays: list[list[list[str]]]) -> None:
    run = _run(_plan(BITS, CODERS))
    assert arrays[0] == [["evaluate"], *[["quantize"]] * 3]
    assert [chain for array in arrays[1:] for chain in array] == [["pack", "evaluate"]] * 6
    assert sorted(fake_stages.CALLS) == ["evaluate"] * 7 + ["pack"] * 6 + ["quantize"] * 3
    assert {run.cell_state(index) for index in range(6)} == {"done"}
    assert not (run.plan.folder / "slurm").exists()
    again = _run(_plan(BITS, CODERS))
    assert {again.cell_state(index) for index in range(6)} == {"up to date"}
    assert len(fake_stages.CALLS) == 16


def test_cells_that_share_nothing_are_one_array_of_whole_cells(arrays: list[list[list[str]]]) -> None:
    _run(_plan(BITS))
    assert arrays == [[["evaluate"], *[["quantize", "pack", "evaluate"]] * 3]]


def test_j_bounds_the_tasks_in_the_queue(arrays: list[list[list[str]]]) -> None:
    _run(_plan(BITS), jobs=2)
    assert max(len(array) for array in arrays) == 2


def test_a_failed_cell_leaves_the_others_alone(arrays: list[list[list[str]]], monkeypatch: pytest.MonkeyPatch) -> None:
    real = fake_stages.run

    def run(job: Any, out: Any) -> Any:
        if job.stage.name == "pack" and job.config.quantize.mlp.bits == 3:
            raise StageFailed("no luck")
        return real(job, out)

    with monkeypatch.context() as patch:
        patch.setattr(fake_stages, "run", run)
        failed = _run(_plan(BITS))
    assert [failed.cell_state(index) for index in range(3)] == ["failed", "done", "done"]
    assert failed.of_cell(0)[2].error == "pack before it failed: no luck"
    fake_stages.CALLS.clear()
    again = _run(_plan(BITS))
    assert fake_stages.CALLS == ["pack", "evaluate"]
    assert [again.cell_state(index) for index in range(3)] == ["done", "up to date", "up to date"]


def test_a_task_that_dies_keeps_what_it_had_finished(
    arrays: list[list[list[str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = fake_stages.run

    def run(job: Any, out: Any) -> Any:
        if job.stage.name == "evaluate" and job.config.quantize.mlp.bits == 4:
            raise SystemExit(1)
        return real(job, out)

    monkeypatch.setattr(fake_stages, "run", run)
    found = _run(_plan(BITS))
    assert [step.state for step in found.of_cell(1)] == ["done", "done", "failed"]
    assert "ended without a result" in str(found.of_cell(1)[2].error)
    assert found.cell_state(0) == found.cell_state(2) == "done"


def test_options_are_those_of_sbatch() -> None:
    options = parse_slurm_options(["partition=gpu", "--cpus-per-task=4", "time=1:30:00", "gres=gpu:a100:1"])
    assert submitit_parameters(options, 1) == {
        "name": "golfpipe-sweep",
        "cpus_per_task": 4,
        "timeout_min": 90,
        "slurm_additional_parameters": {"partition": "gpu", "gres": "gpu:a100:1"},
    }
    assert submitit_parameters({}, 2)["cpus_per_task"] == 2


@pytest.mark.parametrize(
    ("text", "found"),
    [("30", 30), ("30:01", 31), ("2:00:00", 120), ("1-0", 1440), ("1-12:30", 2190), ("1-0:0:1", 1441), ("0:20", 1)],
)
def test_times_are_read_as_sbatch_reads_them(text: str, found: int) -> None:
    assert minutes(text) == found


@pytest.mark.parametrize(
    ("text", "message"),
    [("partition", "expected key=value"), ("time=soon", "time=soon"), ("nodes=many", "whole number"), ("a=", "key=")],
)
def test_wrong_options_are_named(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        submitit_parameters(parse_slurm_options([text]), 1)


def test_without_slurm_or_submitit_it_says_so(arrays: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SlurmWorkers.__init__.__kwdefaults__, "cluster", "slurm")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UsageError, match="no sbatch"):
        make_workers(_plan(BITS), executor="slurm")
    with pytest.raises(UsageError, match="only for --executor slurm"):
        make_workers(_plan(BITS), slurm={"partition": "gpu"})
    monkeypatch.setitem(__import__("sys").modules, "submitit", None)
    with pytest.raises(StageFailed, match="submitit, used by sweep --executor slurm, is not installed") as caught:
        make_workers(_plan(BITS), executor="slurm")
    assert "golfpipe[slurm]" in str(caught.value.hint)
