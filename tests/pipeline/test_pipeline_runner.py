"""Steps run when and only when their settings or inputs changed, and the reason is said."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_stages import make_artifact

from golfpipe.config.resolve import load_stages
from golfpipe.errors import ArtifactError, ConfigError, UsageError
from golfpipe.jobs.job import Context
from golfpipe.pipeline.runner import RunRequest, Step, dry_run, plan_run, run_pipeline, step_fields
from golfpipe.pipeline.settings import Settings

ALL = [spec.name for spec in load_stages(Path(__file__).resolve().parents[2] / "stages.yaml").pipeline]


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, faked_stages: list[str]) -> None:
    monkeypatch.chdir(tmp_path)
    make_artifact(tmp_path / "text", "token_data")


def _request(*overrides: str, start: str | None = None, until: str | None = None, **context: Any) -> RunRequest:
    return RunRequest(
        settings=Settings(overrides=overrides),
        context=Context(**context),
        name="a",
        data=Path("text"),
        start=start,
        until=until,
    )


def _run(*overrides: str, **more: Any) -> dict[str, Step]:
    said: list[str] = []
    steps = run_pipeline(plan_run(_request(*overrides, **more)), lambda step: said.append(step.node.name))
    assert said == [step.node.name for step in steps]
    return {step.node.name: step for step in steps}


def test_a_second_run_does_nothing(faked_stages: list[str]) -> None:
    first = _run()
    assert list(first) == ALL
    assert first["data"].state == "given"
    assert all(step.state == "done" for name, step in first.items() if name != "data")
    faked_stages.clear()
    assert {step.state for step in _run().values()} == {"given", "up to date"}
    assert faked_stages == []


def test_a_changed_setting_reruns_what_depends_on_it() -> None:
    _run()
    steps = _run("pack.coder=nibble")
    assert [name for name, step in steps.items() if step.state == "done"] == [
        "pack", "ttt", "evaluate-pack", "evaluate-ttt", "submit",
    ]  # fmt: skip
    assert steps["pack"].reasons == ("config pack.coder: range -> nibble",)
    assert steps["evaluate-pack"].reasons[0].startswith("input model: ")


def test_dry_run_says_the_same_and_writes_nothing(tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    states = {step.node.name: step.state for step in dry_run(plan_run(_request()))}
    assert states == {name: "given" if name == "data" else "missing" for name in ALL}
    assert sorted(tmp_path.rglob("*")) == before
    _run()
    steps = {step.node.name: step for step in dry_run(plan_run(_request("quantize.mlp.bits=3")))}
    assert steps["quantize"].reasons == ("config quantize.mlp.bits: 4 -> 3",)
    assert steps["pack"].reasons[0].endswith("(pending quantize)")
    assert steps["evaluate-train"].state == "up to date"


def test_a_trained_model_is_precious() -> None:
    _run()
    with pytest.raises(UsageError, match=r"train\.max_steps: \d+ -> 5"):
        _run("train.max_steps=5")
    assert _run("train.max_steps=5", force=True)["train"].state == "done"


def test_force_reruns_everything(faked_stages: list[str]) -> None:
    _run()
    faked_stages.clear()
    assert [step.reasons for step in _run(force=True).values()][1:] == [("--force",)] * (len(ALL) - 1)
    assert len(faked_stages) == len(ALL) - 1


def test_from_takes_what_is_there_with_its_settings() -> None:
    with pytest.raises(ArtifactError, match="train is needed and not there"):
        _run(start="quantize")
    _run("train.max_steps=7", until="train")
    steps = _run("quantize.mlp.bits=3", start="quantize")
    assert steps["train"].state == "given"
    artifact = steps["quantize"].artifact
    assert artifact is not None
    assert artifact.manifest.config["train"]["max_steps"] == 7
    assert artifact.manifest.config["quantize"]["mlp"]["bits"] == 3
    with pytest.raises(ConfigError, match="decided by an earlier step"):
        _run("train.max_steps=8", start="quantize")


@pytest.mark.parametrize("damage", ["cut", "missing", "manifest"])
def test_damaged_artifacts_are_made_again(damage: str) -> None:
    _run()
    path = Path("artifacts/a/pack")
    if damage == "cut":
        (path / "content.txt").write_bytes(b"x")
    elif damage == "missing":
        (path / "content.txt").unlink()
    else:
        (path / "manifest.json").write_text("{")
    steps = _run()
    assert steps["pack"].state == "done"
    assert steps["evaluate-pack"].state == "up to date"  # the same result, so nothing else is stale


def test_a_refused_submission_does_not_end_the_run() -> None:
    submit = _run("submit.blurb=too big")["submit"]
    assert submit.state == "refused"
    assert submit.error is not None
    assert submit.error.exit_code == 4
    assert step_fields(submit)["digest"] is None


def test_score_first_leaves_a_step_without_work() -> None:
    lora = ("ttt.method=score_first_lora",)
    steps = _run(*lora)
    assert steps["evaluate-ttt"].state == "nothing to do"
    artifact = steps["submit"].artifact
    reference = artifact.manifest.input("evaluation") if artifact is not None else None
    assert reference is not None
    assert reference.path.endswith("ttt")
    assert {step.state for step in _run(*lora).values()} == {"given", "up to date", "nothing to do"}


def test_cosine_does_not_depend_on_how_scores_are_taken() -> None:
    _run()
    assert _run("evaluate.stride=7", "ttt.score_first_sgd.lr=0.5")["ttt"].state == "up to date"
    assert _run("ttt.cosine.lr=0.5")["ttt"].state == "done"
    assert _run("ttt.method=score_first_sgd")["ttt"].reasons == ("config ttt.method: cosine -> score_first_sgd",)
    assert _run("evaluate.max_targets=7")["ttt"].state == "done"


@pytest.mark.parametrize("name", ["/", "..", "a/b", ".hidden", "x" * 200, "a\nb"])
def test_names_are_one_folder(name: str) -> None:
    with pytest.raises(UsageError, match="--name"):
        plan_run(RunRequest(name=name))


def test_the_vocabulary_is_the_tokenizers_unless_somebody_chose_one(tmp_path: Path) -> None:
    make_artifact(tmp_path / "other", "token_data", metrics={"vocab_size": 333, "bos_id": 2})
    for name, overrides, expected in (("a", (), 333), ("b", ("model.vocab_size=400",), 400)):
        request = replace(_request(*overrides), data=Path("other"), name=name)
        trained = next(step for step in run_pipeline(plan_run(request), lambda step: None) if step.node.name == "train")
        assert trained.artifact is not None
        assert trained.artifact.manifest.config["model"]["vocab_size"] == expected
    assert all(step.state in ("given", "up to date") for step in dry_run(plan_run(replace(request, name="b"))))


TARGET = "quantize.target_bytes=60e3"


def test_under_a_target_quantize_reads_the_data_of_the_run() -> None:
    steps = _run(TARGET)
    quantized, trained = steps["quantize"].artifact, steps["train"].artifact
    assert quantized is not None and trained is not None and quantized.manifest.input("data") is not None
    assert quantized.manifest.config["quantize"]["calibration"] == "train"
    assert trained.manifest.config["quantize"]["calibration"] == "auto"  # a later command decides by what it finds
    assert {step.state for step in _run(TARGET).values()} == {"given", "up to date"}
    assert _run(TARGET, "quantize.calibration=train")["quantize"].state == "up to date"
    steps = _run(TARGET, "quantize.calibration=none")
    assert "config quantize.calibration: train -> none" in steps["quantize"].reasons


def test_without_a_target_no_data_is_read() -> None:
    quantized = _run()["quantize"].artifact
    assert quantized is not None and quantized.manifest.input("data") is None
    assert quantized.manifest.config["quantize"]["calibration"] == "none"
    assert _run("quantize.calibration=none")["quantize"].state == "up to date"
