"""A rehearsal goes through every step in a folder of its own, goes on past failures, and is never taken for a run."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import fake_stages
import pytest
from fake_run import FakeRun, submit_job
from fake_stages import make_artifact
from stage_chain import Chain

from golfpipe.config.schema import PipelineConfig, build_config, with_changes
from golfpipe.errors import ConfigError, Interrupted, OverLimit, StageFailed, UsageError
from golfpipe.jobs.job import Context
from golfpipe.jobs.run import run_job
from golfpipe.pipeline.estimate import adaptation_operations, scored_tokens, scoring_operations
from golfpipe.pipeline.rehearsal import LEAST_SHARE, Rehearsed, cuts, rehearsal_of, rehearse
from golfpipe.pipeline.runner import RunPlan, RunRequest, dry_run, plan_run, run_pipeline
from golfpipe.pipeline.settings import Settings, machine_of
from golfpipe.records.folder import read_folder
from golfpipe.report.run_data import read_run
from golfpipe.report.verdict import gather_numbers, verdict
from golfpipe.review.audit import audit_path
from golfpipe.review.runs import list_runs
from golfpipe.scoring.config import EvaluateConfig
from golfpipe.scoring.windows import plan_windows
from golfpipe.stages.expected_size import expected_file_bytes
from golfpipe.submission.comparison import compare_evaluations
from golfpipe.submission.records_folder import records_folder


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, faked_stages: list[str]) -> RunPlan:
    monkeypatch.chdir(tmp_path)
    make_artifact(tmp_path / "text", "token_data", metrics={"val_tokens": 10_001})
    return _plan()


def _plan(*overrides: str) -> RunPlan:
    settings = Settings(overrides=overrides)
    return plan_run(RunRequest(settings=settings, context=Context(), name="a", data=Path("text")))


def _rehearse(plan: RunPlan, machine: str | None = None) -> dict[str, Rehearsed]:
    found = rehearse(plan, machine_of(Settings(machine=machine)), lambda step: None)
    return {each.step.node.name: each for each in found}


def _break(monkeypatch: pytest.MonkeyPatch, broken: str, error: Exception) -> None:
    run = fake_stages.run

    def failing(job, out):  # type: ignore[no-untyped-def]
        if job.stage.name == broken:
            raise error
        return run(job, out)

    monkeypatch.setattr(fake_stages, "run", failing)


def test_cuts_leave_what_decides_whether_a_step_works() -> None:
    config = Settings(preset="16l-fit").resolve().config
    assert cuts(config) == {
        "train.max_steps": 1,
        "train.max_seconds": 0.0,
        "train.batch_tokens": 2048,
        "train.validation_targets": 2176,
        "ttt.cosine.epochs": 1,
        "evaluate.max_targets": 2176,
        "quantize.calibration_tokens": 512,
    }
    cut = with_changes(config, cuts(config))
    assert cuts(cut) == {}
    assert (cut.model, cut.optim, cut.pack, cut.submit) == (config.model, config.optim, config.pack, config.submit)


@pytest.mark.parametrize("method", ["score_first_lora", "score_first_sgd"])
def test_an_update_lies_before_the_last_scores(method: str) -> None:
    config = with_changes(PipelineConfig(), {"ttt.method": method})
    recipe = with_changes(config, cuts(config)).ttt.recipe()
    assert cuts(config)["evaluate.max_targets"] > recipe.chunk_tokens


def test_qat_that_begins_late_is_rehearsed_and_none_is_not_begun() -> None:
    config = PipelineConfig()
    assert cuts(with_changes(config, {"train.qat_start": 0.85}))["train.qat_start"] == 0
    assert "train.qat_start" not in cuts(with_changes(config, {"train.qat_start": 1.0}))


def test_a_rehearsal_makes_no_step_of_the_run_up_to_date(plan: RunPlan) -> None:
    found = _rehearse(plan)
    assert {each.step.state for each in found.values()} == {"given", "done"}
    assert all(each.error is None for each in found.values())
    folder = Path("artifacts/a-rehearsal")
    made = [each.step.artifact for each in found.values() if each.step.state == "done"]
    assert all(artifact.manifest.is_rehearsal and folder in artifact.path.parents for artifact in made)
    assert not Path("artifacts/a").exists()
    assert {step.state for step in dry_run(_plan())} == {"given", "missing"}
    steps = run_pipeline(_plan(), lambda step: None)
    assert {step.state for step in steps} == {"given", "done"}
    assert not any(step.artifact.manifest.is_rehearsal for step in steps)


def test_it_works_anew_each_time(plan: RunPlan, faked_stages: list[str]) -> None:
    _rehearse(plan)
    first = list(faked_stages)
    faked_stages.clear()
    _rehearse(plan)
    assert faked_stages == first


@pytest.mark.parametrize("error", [ConfigError("no such thing"), RuntimeError("out of memory")])
def test_steps_that_do_not_depend_on_a_failure_go_on(
    plan: RunPlan, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    _break(monkeypatch, "quantize", error)
    found = _rehearse(plan)
    states = {name: each.step.state for name, each in found.items()}
    assert states.pop("evaluate-train") == "done"
    assert (states.pop("data"), states.pop("train"), states.pop("quantize")) == ("given", "done", "failed")
    assert set(states.values()) == {"not reached"}
    assert str(error) in found["quantize"].error.message
    assert found["pack"].step.reasons == ("needs quantize",)


def test_every_seed_is_rehearsed(plan: RunPlan) -> None:
    request = RunRequest(settings=Settings(), context=Context(), name="s", data=Path("text"), seeds=(1, 2))
    found = _rehearse(plan_run(request))
    assert {each.step.state for each in found.values()} == {"given", "done"}
    assert found["seed-2/train"].step.artifact.path == Path("artifacts/s-rehearsal/seed-2/train")
    assert len(found["submit"].step.artifact.manifest.inputs) == 2


def test_an_interrupt_ends_it(plan: RunPlan, monkeypatch: pytest.MonkeyPatch) -> None:
    _break(monkeypatch, "pack", Interrupted("stopped"))
    with pytest.raises(Interrupted):
        _rehearse(plan)


def test_it_asks_the_training_of_the_run_whether_it_could_begin(plan: RunPlan) -> None:
    run_pipeline(plan, lambda step: None)
    found = _rehearse(_plan("train.max_steps=7"))
    assert "holds a trained_model already" in found["train"].error.message
    assert found["submit"].step.state == "done"


def test_a_size_that_no_training_makes_small_enough_is_over_the_limit(plan: RunPlan) -> None:
    size = expected_file_bytes(plan.config)
    least = int(LEAST_SHARE * size) + plan.config.pack.code_bytes_reserve
    assert _rehearse(_plan(f"pack.limit_bytes={least + 1}"))["pack"].error is None
    assert isinstance(_rehearse(_plan(f"pack.limit_bytes={least - 1}"))["pack"].error, OverLimit)


def test_times_are_those_of_the_named_machine(plan: RunPlan) -> None:
    assert "seconds" not in _rehearse(plan)["evaluate-pack"].expected
    found = _rehearse(plan, "laptop")
    rate = 0.1e12
    assert found["evaluate-pack"].expected["seconds"] == scoring_operations(plan.config, 10_000) / rate
    assert found["ttt"].expected["seconds"] == adaptation_operations(plan.config, 10_000) / rate
    assert found["train"].expected["steps"] == plan.config.train.max_steps


@pytest.mark.parametrize("method", ["sliding", "chunked"])
@pytest.mark.parametrize(
    ("targets", "context", "stride"), [(1, 8, 2), (8, 8, 3), (9, 8, 3), (1000, 64, 7), (641, 64, 64)]
)
def test_scored_tokens_are_those_of_the_windows(method: str, targets: int, context: int, stride: int) -> None:
    windows = EvaluateConfig(method=method, context_length=context, stride=stride)
    assert scored_tokens(targets, windows) == sum(w.end - w.start for w in plan_windows(targets, windows))


def test_the_expected_size_is_near_and_a_target_is_met(chain: Chain) -> None:
    config = build_config(chain.packed.manifest.config)
    assert chain.packed.manifest.metrics["packed_bytes"] == pytest.approx(expected_file_bytes(config), rel=0.1)
    assert expected_file_bytes(with_changes(config, {"quantize.target_bytes": 9000.0})) == 9000


def test_a_folder_that_no_rehearsal_made_is_left_alone(plan: RunPlan) -> None:
    make_artifact(Path("artifacts/a-rehearsal/train"), "trained_model")
    with pytest.raises(UsageError, match="which no rehearsal made"):
        rehearsal_of(plan)


@pytest.mark.usefixtures("quick_submissions")
def test_nothing_takes_a_rehearsal_for_a_result(tmp_path: Path) -> None:
    pytest.importorskip("scipy")
    run = FakeRun(tmp_path / "a-rehearsal", rehearsal=True).build()
    evaluation = run.open("evaluate-pack")
    with pytest.raises(UsageError, match="made by a rehearsal"):
        run_job(submit_job([evaluation], tmp_path / "a-rehearsal" / "submit"))
    with pytest.raises(UsageError, match="made by a rehearsal"):
        compare_evaluations(evaluation.path, run.open("evaluate-train").path)
    report = audit_path(run.folder)
    assert {rule.status for rule in report.rules} == {"not applicable"} and report.totals.total_bytes is None
    assert [line.state for line in list_runs(tmp_path, "demo")] == ["rehearsal"]
    read = read_run(run.folder)
    assert "rehearsal" in verdict(read, gather_numbers(read, baselines=False)).wrong[0]


@pytest.mark.usefixtures("quick_submissions")
def test_a_submission_is_judged_for_the_run_and_says_what_it_is(tmp_path: Path) -> None:
    run = FakeRun(tmp_path / "a-rehearsal", rehearsal=True, scored_targets=3000).build()
    job = submit_job([run.open("evaluate-pack")], run.folder / "submit")
    job = replace(job, arguments={"rehearsed": run.config, "cuts": {}}, context=replace(job.context, rehearsal=True))
    submission = run_job(job).artifact
    record = json.loads((records_folder(submission) / "submission.json").read_text())
    rules = {rule["number"]: rule["status"] for rule in record["compliance"]["rules"]}
    assert record["rehearsal"] is True
    assert (rules[2], rules[6], rules[7]) == ("not checked", "not checked", "pass")
    assert "A rehearsal" in (records_folder(submission) / "README.md").read_text()
    assert {rule.status for rule in audit_path(records_folder(submission)).rules} == {"not applicable"}
    carried_away = records_folder(submission).rename(tmp_path / "carried-away")
    assert any("rehearsal" in problem for problem in read_folder(carried_away).record.problems)


def test_a_script_that_differs_fails(plan: RunPlan, monkeypatch: pytest.MonkeyPatch) -> None:
    metrics = fake_stages._metrics
    told = {"script_sha256": "x", "code_bytes": 30_000, "script_differences": ["val_bpb: script 1, stages 2"]}
    monkeypatch.setattr(fake_stages, "_metrics", lambda kind, c: told if kind == "submission" else metrics(kind, c))
    submitted = _rehearse(plan)["submit"]
    assert isinstance(submitted.error, StageFailed) and "val_bpb" in submitted.error.message
    assert submitted.expected == {"code_bytes": 30_000}
