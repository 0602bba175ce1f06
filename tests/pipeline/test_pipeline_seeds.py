"""A run of several seeds: one chain each, what they share once, one submission, and going on with what is missing."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from fake_stages import make_artifact
from recording_reporter import RecordingReporter

import golfpipe
from golfpipe.cli.app import main
from golfpipe.config.resolve import load_stages, resolve_config
from golfpipe.errors import ConfigError, GolfpipeError, UsageError
from golfpipe.jobs.job import Context
from golfpipe.pipeline.graph import build_graph, select
from golfpipe.pipeline.node import Node
from golfpipe.pipeline.runner import RunRequest, Step, dry_run, plan_run, run_pipeline
from golfpipe.pipeline.seeds import parse_seeds
from golfpipe.pipeline.settings import Settings
from golfpipe.review.clean import find_removable
from golfpipe.review.runs import list_runs
from golfpipe.review.status import run_status
from golfpipe.store.artifact import open_artifact

STAGES = load_stages(Path(__file__).resolve().parents[2] / "stages.yaml")
PER_SEED = [spec.name for spec in STAGES.pipeline if spec.name not in ("data", "submit")]


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, faked_stages: list[str]) -> Path:
    monkeypatch.chdir(tmp_path)
    make_artifact(tmp_path / "text", "token_data")
    return tmp_path


def _graph(*seeds: int, method: str = "cosine") -> tuple[Node, ...]:
    config = resolve_config(STAGES, preset="demo", overrides=[f"ttt.method={method}"]).config
    return build_graph(STAGES.pipeline, config, seeds)


def _request(*overrides: str, seeds: tuple[int, ...] = (1, 2, 3), **more: Any) -> RunRequest:
    values: dict[str, Any] = {"name": "a", "data": Path("text")} | more
    return RunRequest(settings=Settings(overrides=overrides), seeds=seeds, **values)


def _run(*overrides: str, **more: Any) -> dict[str, Step]:
    return {step.node.name: step for step in run_pipeline(plan_run(_request(*overrides, **more)), lambda step: None)}


def _done(steps: dict[str, Step]) -> list[str]:
    return [name for name, step in steps.items() if step.state == "done"]


def test_there_is_one_chain_per_seed_and_the_rest_once() -> None:
    nodes = {node.name: node for node in _graph(4, 1)}
    assert list(nodes) == ["data", *(f"seed-{seed}/{name}" for seed in (4, 1) for name in PER_SEED), "submit"]
    assert nodes["seed-4/quantize"].inputs == {"model": "seed-4/train"}
    assert nodes["seed-1/ttt"].inputs == {"model": "seed-1/pack", "data": "data"}
    assert nodes["submit"].inputs == {"evaluation": "seed-4/evaluate-pack", "evaluation-2": "seed-1/evaluate-pack"}
    assert {node.seed for node in nodes.values() if node.name.startswith("seed-4/")} == {4}
    assert nodes["data"].seed is None
    assert nodes["submit"].seed is None


def test_a_score_first_evaluation_of_every_seed_is_what_is_submitted() -> None:
    submit = _graph(1, 2, method="score_first_lora")[-1]
    assert submit.inputs == {"evaluation": "seed-1/ttt", "evaluation-2": "seed-2/ttt"}


def test_from_and_until_mean_the_steps_of_all_seeds() -> None:
    given, work = select(_graph(1, 2), start="quantize", until="pack")
    assert [node.name for node in given] == ["seed-1/train", "seed-2/train"]
    assert [node.name for node in work] == ["seed-1/quantize", "seed-1/pack", "seed-2/quantize", "seed-2/pack"]


def test_every_seed_is_trained_with_its_own_and_submitted_once(workspace: Path, faked_stages: list[str]) -> None:
    steps = _run()
    chain = [spec.stage for spec in STAGES.pipeline if spec.name in PER_SEED]
    assert faked_stages == [*chain * 3, "submit"]
    for seed in (1, 2, 3):
        trained = open_artifact(Path(f"artifacts/a/seed-{seed}/train"))
        assert trained.manifest.config["seed"] == seed
    digests = {ref.digest for ref in open_artifact(Path("artifacts/a/submit")).manifest.inputs}
    assert digests == {steps[f"seed-{seed}/evaluate-pack"].artifact.manifest.digest for seed in (1, 2, 3)}  # type: ignore[union-attr]
    assert len(digests) == 3
    faked_stages.clear()
    assert _done(_run()) == []
    assert faked_stages == []


def test_a_chain_of_one_seed_is_the_run_with_that_seed(workspace: Path) -> None:
    several = _run()
    alone = run_pipeline(
        plan_run(RunRequest(settings=Settings(seed=2), name="b", data=Path("text"))), lambda step: None
    )
    keys = {step.node.name: step.artifact.manifest.key for step in alone if step.artifact is not None}
    for name in PER_SEED:
        artifact = several[f"seed-2/{name}"].artifact
        assert artifact is not None
        assert artifact.manifest.key == keys[name]


def test_the_same_command_goes_on_with_what_is_missing(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fake_stages

    real, trained = fake_stages.run, []

    def fails_at_the_second(job: Any, out: Any) -> Any:
        if job.stage.name == "train":
            trained.append(job.config.seed)
            if job.config.seed == 2:
                raise GolfpipeError("the power went")
        return real(job, out)

    monkeypatch.setattr(fake_stages, "run", fails_at_the_second)
    with pytest.raises(GolfpipeError, match="the power went"):
        _run()
    assert Path("artifacts/a/seed-1/evaluate-ttt").is_dir()
    assert not Path("artifacts/a/seed-2/train").exists()
    monkeypatch.setattr(fake_stages, "run", real)
    done = _done(_run())
    assert done == [*(f"seed-{seed}/{name}" for seed in (2, 3) for name in PER_SEED), "submit"]
    shutil.rmtree("artifacts/a/seed-3/pack")
    assert _done(_run()) == ["seed-3/pack"]  # the same bytes again, so that nothing behind it is stale
    assert _done(_run(seeds=(1, 2, 3, 4))) == [*(f"seed-4/{name}" for name in PER_SEED), "submit"]


def test_a_dry_run_says_the_same_and_writes_nothing(workspace: Path) -> None:
    states = {step.node.name: step.state for step in dry_run(plan_run(_request(seeds=(7,))))}
    assert states == {"data": "given", **{f"seed-7/{name}": "missing" for name in PER_SEED}, "submit": "missing"}
    assert not Path("artifacts").exists()


@pytest.mark.parametrize("settings", [Settings(seed=0), Settings(overrides=("seed=5",))])
def test_seeds_and_one_seed_contradict_each_other(workspace: Path, settings: Settings) -> None:
    with pytest.raises(UsageError, match=r"--seeds 1,2 and --se(ed 0|t seed=5) contradict each other"):
        plan_run(RunRequest(settings=settings, seeds=(1, 2), data=Path("text")))


def test_a_run_of_one_seed_and_one_of_several_do_not_mix(workspace: Path) -> None:
    _run()
    with pytest.raises(UsageError, match="holds a run of the seeds 1,2,3"):
        plan_run(_request(seeds=()))
    _run(seeds=(), name="one")
    with pytest.raises(UsageError, match=r"holds a run of one seed \(evaluate-pack, "):
        plan_run(_request(name="one"))


def test_without_a_name_the_folder_is_not_that_of_one_seed(workspace: Path) -> None:
    assert plan_run(_request(name=None)).folder.name == "demo-seeds"
    assert plan_run(_request(name=None, seeds=())).folder.name == "demo"


def test_a_machine_of_eight_processes_is_told_that_a_run_has_one(workspace: Path) -> None:
    reporter = RecordingReporter()
    settings = Settings(machine="gpus-8x80gb")
    plan_run(RunRequest(settings=settings, context=Context(reporter=reporter), data=Path("text")))
    assert reporter.warnings == ["run works in one process; train, ttt and evaluate take 8 with --machine gpus-8x80gb"]


@pytest.mark.parametrize("text", ["", "1,", "one", "1;2", "1.5"])
def test_seeds_are_whole_numbers(text: str) -> None:
    with pytest.raises(UsageError, match="expected whole numbers between commas"):
        parse_seeds(text)


def test_seeds_are_different_and_such_as_generators_take(workspace: Path) -> None:
    assert parse_seeds("3, 1,2") == (3, 1, 2)
    with pytest.raises(UsageError, match="names 2 more than once"):
        parse_seeds("2,1,2")
    with pytest.raises(ConfigError, match="seed=-1 must lie in"):
        plan_run(_request(seeds=(1, -1)))


def test_status_and_ls_and_clean_know_the_seeds(workspace: Path) -> None:
    steps = _run()
    lines = {line.name: line for line in run_status(Path("artifacts/a")).lines}
    assert list(lines) == list(steps)
    assert {line.state for line in lines.values()} == {"up to date"}
    shutil.rmtree("artifacts/a/seed-2/train")
    Path("artifacts/a/seed-3/.pack.partial").mkdir()
    shutil.rmtree("artifacts/a/seed-3/pack")
    lines = {line.name: line for line in run_status(Path("artifacts/a")).lines}
    assert lines["seed-2/train"].state == "missing"
    assert lines["seed-2/quantize"].state == "stale"
    assert lines["seed-1/pack"].state == "up to date"
    assert lines["seed-3/pack"].state == "unfinished"
    runs = {run.name: run for run in list_runs(Path("artifacts"), "demo")}
    assert runs.keys() == {"a", "a/seed-1", "a/seed-2", "a/seed-3"}
    assert runs["a/seed-1"].val_bpb == 1.5
    assert runs["a/seed-3"].state == "unfinished"
    assert [item.path.name for item in find_removable(Path("artifacts/a"))] == [".pack.partial"]


def test_the_command_and_the_function_are_one(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "text", "--seeds", "1,2", "--name", "a", "--until", "quantize", "-q"]) == 0
    made = golfpipe.run("text", seeds=[1, 2], name="a", until="quantize")
    assert [step.state for step in made.steps] == ["given", *["up to date"] * 4]
    assert made["seed-2/quantize"].manifest.config["seed"] == 2
    assert main(["run", "text", "--seeds", "1,2", "--seed", "3"]) == 2
    assert "contradict each other" in capsys.readouterr().err
