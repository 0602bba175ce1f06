"""submit ships the script, counts its bytes, and says what running it showed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from recording_reporter import RecordingReporter
from script_runs import Small, sources_with

from golfpipe.cli.app import main
from golfpipe.errors import OverLimit
from golfpipe.jobs.job import Context, Job
from golfpipe.jobs.registry import STAGES
from golfpipe.jobs.run import run_job
from golfpipe.script.generate import generate_script, script_settings_of
from golfpipe.store.artifact import Artifact, open_artifact
from golfpipe.submission.records_folder import records_folder


def evaluated(small: Small, folder: Path, *overrides: str, **start: Artifact) -> Artifact:
    """The evaluation of a chain in `folder`; `start`: init=MODEL."""

    def stage(name: str, **inputs: Artifact) -> Artifact:
        context = Context(device="cpu")
        return run_job(
            Job(stage=STAGES[name], config=small.config(*overrides), inputs=inputs, out=folder / name, context=context)
        ).artifact

    packed = stage("pack", model=stage("quantize", model=stage("train", data=small.data, **start)))
    return stage("evaluate", model=packed, data=small.data)


@pytest.fixture(scope="module")
def evaluation(small: Small, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return evaluated(small, tmp_path_factory.mktemp("run"))


def submit(small: Small, evaluation: Artifact, out: Path, *overrides: str, context: Context | None = None) -> Artifact:
    config = small.config(*overrides)
    inputs = {"evaluation": evaluation}
    job = Job(stage=STAGES["submit"], config=config, inputs=inputs, out=out, context=context or Context())
    return run_job(job).artifact


def test_the_script_ships_and_its_bytes_count(small: Small, evaluation: Artifact, tmp_path: Path) -> None:
    submission = submit(small, evaluation, tmp_path / "submit", "submit.verify=true")
    folder = records_folder(submission)
    script = (folder / "train_gpt.py").read_bytes()
    assert script == generate_script(script_settings_of(small.config(), "none"), "compressed")
    record = json.loads((folder / "submission.json").read_text())
    assert record["bytes_code"] == len(script)
    assert record["bytes_total"] == record["bytes_model"] + len(script)
    rules = {rule["number"]: rule["status"] for rule in record["compliance"]["rules"]}
    assert (rules[1], rules[11]) == ("pass", "pass")
    assert record["script_verification"]["equal"] is True
    readme = (folder / "README.md").read_text()
    assert "of code (the script)" in readme and "to the last digit" in readme and "`train_gpt.py`" in readme
    log = (folder / "train_seed0.log").read_text()
    assert f"Code size: {len(script)} bytes\n" in log
    assert submission.manifest.metrics["script_verified"] is True


def test_the_script_has_the_precision_that_auto_stood_for(
    small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("golfpipe.stages.training_start.faster_precision", lambda device: "bf16")
    trained = evaluated(small, tmp_path / "run", "train.precision=auto")
    folder = records_folder(submit(small, trained, tmp_path / "submit", "submit.verify=true"))
    settings = script_settings_of(small.config("train.precision=bf16"), "none")
    assert (folder / "train_gpt.py").read_bytes() == generate_script(settings, "compressed")
    assert json.loads((folder / "submission.json").read_text())["script_verification"]["equal"] is True


def test_a_script_over_the_reserve_is_taken_and_said(
    small: Small, evaluation: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reserve is a plan; the limit is the rule."""
    reserve = small.config().pack.code_bytes_reserve
    monkeypatch.setattr("golfpipe.stages.submit.generate_script", lambda settings, layout: b"#" * (reserve + 1))
    reporter = RecordingReporter()
    submission = submit(small, evaluation, tmp_path / "submit", context=Context(reporter=reporter))
    assert submission.manifest.metrics["code_bytes"] == reserve + 1
    assert any(f"pack.code_bytes_reserve planned {reserve:,} B" in line for line in reporter.warnings)


def test_a_script_that_makes_the_total_exceed_the_limit_is_refused(
    small: Small, evaluation: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("golfpipe.stages.submit.generate_script", lambda settings, layout: b"#" * 16_000_000)
    packed = small_bytes(evaluation)
    with pytest.raises(OverLimit, match=rf"{16_000_000 + packed:,} B of 16,000,000 B.* give {packed:,} B") as caught:
        submit(small, evaluation, tmp_path / "submit")
    assert caught.value.exit_code == 4


def small_bytes(evaluation: Artifact) -> int:
    return (evaluation.path.parent / "pack" / "packed.safetensors").stat().st_size


def test_weights_that_began_from_others_have_no_script(small: Small, evaluation: Artifact, tmp_path: Path) -> None:
    warm = evaluated(small, tmp_path / "warm", init=open_artifact(evaluation.path.parent / "train"))
    submission = submit(small, warm, tmp_path / "submit")
    assert not (records_folder(submission) / "train_gpt.py").exists()
    assert any("train_gpt.py" in deviation for deviation in submission.manifest.provenance["deviations"])


def test_a_script_that_differs_exits_1_and_says_where(
    small: Small,
    evaluation: Artifact,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    read = sources_with("golfpipe.model.layers", r"NORM_EPS = 1\.1920929e-07", "NORM_EPS = 1e-3")
    other = generate_script(small.settings(), "compressed", read)
    monkeypatch.setattr("golfpipe.stages.submit.generate_script", lambda settings, layout: other)
    out = tmp_path / "submit"
    code = main(["submit", str(evaluation.path), "-o", str(out), "--verify", "--layout", "compressed", "--json"])
    answer = json.loads(capsys.readouterr().out)
    assert code == answer["exit_code"] == 1
    assert "val_bpb: script " in answer["error"]["message"]
    assert answer["metrics"]["script_verified"] is False
    folder = records_folder(open_artifact(out))
    assert "The script gives other numbers than golfpipe" in (folder / "README.md").read_text()
