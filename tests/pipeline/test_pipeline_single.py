"""Single commands: default folders, inherited settings, data found by digest, resuming."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import fake_stages
import pytest
from fake_stages import make_artifact

from golfpipe.config.schema import plain_config
from golfpipe.errors import ArtifactError, ConfigError, Interrupted, StageFailed, UsageError
from golfpipe.jobs.job import Context, Job
from golfpipe.jobs.key import job_key, stale_reasons
from golfpipe.jobs.provenance import data_reference
from golfpipe.jobs.registry import STAGES
from golfpipe.jobs.run import run_job
from golfpipe.jobs.unfinished import protect
from golfpipe.pipeline.dry_run import plan_job
from golfpipe.pipeline.estimate import estimate, weight_bytes
from golfpipe.pipeline.settings import Settings
from golfpipe.pipeline.single import Request, checked_out, finished_evaluation, prepare
from golfpipe.pipeline.training import prepare_training
from golfpipe.reporter import SilentReporter
from golfpipe.store.artifact import Artifact, open_artifact
from golfpipe.store.artifact_writer import ArtifactWriter
from golfpipe.store.files import partial_folder

TEXT = "artifacts/data/text"


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, faked_stages: list[str]) -> None:
    monkeypatch.chdir(tmp_path)
    make_artifact(Path(TEXT), "token_data")


def _train(*overrides: str, name: str = "a", resume: bool = False, data: str | None = TEXT) -> Job:
    request = Request(
        stage="train",
        inputs={"data": Path(data) if data is not None else None},
        settings=Settings(overrides=overrides),
        context=Context(resume=resume),
    )
    return prepare_training(request, name)


def _made(stage: str, model: str, *overrides: str, preset: str | None = None) -> Artifact:
    roles: dict[str, Path | None] = {"model": Path(model)}
    if "data" in STAGES[stage].inputs:
        roles["data"] = None
    job = prepare(Request(stage=stage, inputs=roles, settings=Settings(overrides=overrides, preset=preset)))
    return run_job(job).artifact


def test_folders_settings_and_data_follow_the_input() -> None:
    run_job(_train("train.max_steps=7", "optim.matrix_lr=0.5"))
    quantized = _made("quantize", "artifacts/a/train", "quantize.mlp.bits=3", "pack.coder=nibble")
    packed = _made("pack", "artifacts/a/quantize")
    scored = _made("evaluate", "artifacts/a/pack")
    assert [str(a.path) for a in (quantized, packed, scored)] == [
        "artifacts/a/quantize", "artifacts/a/pack", "artifacts/a/evaluate-pack",
    ]  # fmt: skip
    config = packed.manifest.config
    assert (config["train"]["max_steps"], config["optim"]["matrix_lr"]) == (7, 0.5)
    assert (config["quantize"]["mlp"]["bits"], config["pack"]["coder"]) == (3, "nibble")
    assert config["data"]["source"].endswith(TEXT)
    data = scored.manifest.input("data")
    assert data is not None
    assert data.digest == open_artifact(Path(TEXT)).manifest.digest


def test_data_is_found_although_what_is_between_was_replaced() -> None:
    run_job(_train())
    _made("quantize", "artifacts/a/train")
    _made("pack", "artifacts/a/quantize")
    _made("quantize", "artifacts/a/train", "quantize.mlp.bits=3")
    Path(TEXT).rename("artifacts/data/moved")
    assert data_reference(open_artifact(Path("artifacts/a/pack")).manifest) is not None
    scored = _made("evaluate", "artifacts/a/pack").manifest.input("data")
    assert scored is not None
    assert scored.path.endswith("moved")


def test_other_data_than_the_models_is_not_taken() -> None:
    run_job(_train())
    make_artifact(Path(TEXT), "token_data", metrics={"val_tokens": 1})
    with pytest.raises(ArtifactError, match="its data"):
        _made("evaluate", "artifacts/a/train")


def test_a_later_preset_leaves_the_model_alone() -> None:
    run_job(_train())
    config = _made("quantize", "artifacts/a/train", preset="11l-xsa").manifest.config
    assert config["model"]["num_layers"] == 3
    assert config["quantize"]["mlp"]["bits"] == 6
    with pytest.raises(ConfigError, match="decided by an earlier step"):
        _made("quantize", "artifacts/a/train", "model.num_layers=5")


def test_settings_of_another_golfpipe_do_not_make_a_model_unusable() -> None:
    config = plain_config(_train("train.max_steps=7").config) | {"colour": 1, "pack": {"coder": "steam"}}
    config["ttt"] = {"method": "cosine", "old_name": 3}
    make_artifact(Path("artifacts/old/train"), "trained_model", config=config)
    warnings: list[str] = []
    reporter = SilentReporter()
    reporter.warn = warnings.append  # type: ignore[method-assign]
    request = Request(
        stage="quantize", inputs={"model": Path("artifacts/old/train")}, context=Context(reporter=reporter)
    )
    assert prepare(request).config.train.max_steps == 7
    assert warnings == ["artifacts/old/train: settings of another golfpipe are left out: colour, ttt.old_name, pack"]


def test_wrong_kinds_and_names() -> None:
    run_job(_train())
    with pytest.raises(ArtifactError, match="kind trained_model, expected quantized_model"):
        _made("pack", "artifacts/a/train")
    with pytest.raises(UsageError, match="train needs token data"):
        _train(data=None)
    with pytest.raises(UsageError, match="--name"):
        _train(name="../b")
    with pytest.raises(UsageError, match="longer than"):
        checked_out(Path("x" * 200))
    with pytest.raises(UsageError, match="cannot be an output"):
        checked_out(Path("/"))
    assert finished_evaluation(Path("artifacts/a/train")) is None


def test_relative_folders(monkeypatch: pytest.MonkeyPatch) -> None:
    run_job(_train())
    monkeypatch.chdir("artifacts/a/train")
    out = prepare(Request(stage="quantize", inputs={"model": Path(".")})).out
    assert (out.parent.name, out.name) == ("a", "quantize")


def test_an_interrupted_run_goes_on_with_its_settings_and_data(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(job: Job, out: ArtifactWriter) -> None:
        protect(job, out)
        raise Interrupted("stopped")

    with monkeypatch.context() as patch:
        patch.setattr(fake_stages, "run", interrupted)
        with pytest.raises(Interrupted):
            run_job(_train("train.max_steps=7"))
    assert partial_folder(Path("artifacts/a/train")).is_dir()
    with pytest.raises(UsageError, match=r"unfinished run of other settings is here .train\.max_steps: 7 -> 8"):
        run_job(_train("train.max_steps=8"))
    resumed = _train(data=None, resume=True)
    assert resumed.config.train.max_steps == 7
    assert run_job(resumed).artifact.manifest.config["train"]["max_steps"] == 7
    assert run_job(_train(data=None, resume=True)).up_to_date
    with pytest.raises(UsageError, match="nothing to resume"):
        _train(name="other", data=None, resume=True)


def test_a_run_that_ended_before_its_first_checkpoint_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(job: Job, out: ArtifactWriter) -> None:
        out.write("train.log", b"nothing that is worth keeping")
        raise UsageError("refused")

    with monkeypatch.context() as patch:
        patch.setattr(fake_stages, "run", refused)
        with pytest.raises(UsageError, match="refused"):
            run_job(_train("train.max_steps=7"))
    assert not partial_folder(Path("artifacts/a/train")).exists()
    assert run_job(_train("train.max_steps=8")).artifact.manifest.config["train"]["max_steps"] == 8


def test_a_command_that_is_refused_discards_no_checkpoint_even_by_force(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(job: Job, out: ArtifactWriter) -> None:
        protect(job, out)
        raise Interrupted("stopped")

    def refused(job: Job, out: ArtifactWriter) -> None:
        raise UsageError("refused")

    with monkeypatch.context() as patch:
        patch.setattr(fake_stages, "run", interrupted)
        with pytest.raises(Interrupted):
            run_job(_train("train.max_steps=7"))
        patch.setattr(fake_stages, "run", refused)
        forced = replace(_train("train.max_steps=8"), context=Context(force=True))
        with pytest.raises(UsageError, match="refused"):
            run_job(forced)
    assert run_job(_train(data=None, resume=True)).artifact.manifest.config["train"]["max_steps"] == 7


def test_an_unreadable_trained_model_is_not_replaced() -> None:
    run_job(_train())
    Path("artifacts/a/train/manifest.json").write_text("{}")
    with pytest.raises(UsageError, match="cannot read"):
        run_job(_train())


def test_a_failed_stage_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    run_job(_train())
    before = _made("quantize", "artifacts/a/train").manifest

    def fail(job: Job, out: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(fake_stages, "run", fail)
    with pytest.raises(StageFailed, match="no space left"):
        _made("quantize", "artifacts/a/train", "quantize.mlp.bits=3")
    assert open_artifact(Path("artifacts/a/quantize")).manifest == before
    assert not partial_folder(Path("artifacts/a/quantize")).exists()


def test_plans_say_why_and_what() -> None:
    job = _train("train.max_steps=7", "train.max_seconds=60")
    plan = plan_job(job)
    assert plan.reasons == ("missing",)
    assert (plan.key, plan.seconds) == (job.key, None)
    assert plan.output_bytes is not None
    assert plan.memory_bytes == 5 * plan.output_bytes
    run_job(job)
    assert plan_job(job).reasons == ()


def test_the_key_holds_what_decides_and_nothing_else() -> None:
    job = _train()
    digests = {"data": "d"}

    def key(*overrides: str) -> str:
        return job_key(STAGES["train"], _train(*overrides).config, digests)

    assert key() == key("train.log_every=3", "pack.coder=nibble", "quantize.mlp.bits=3", "evaluate.stride=7")
    assert len({key(), key("seed=1"), key("train.max_steps=2"), key("train.qat.mlp.bits=6")}) == 4
    assert key() != job_key(STAGES["train"], job.config, {"data": "other"})
    assert stale_reasons(STAGES["train"], job.config, digests, None) == ["missing"]


def test_bytes_of_targets_and_steps() -> None:
    def bytes_with(*overrides: str) -> int:
        return weight_bytes(Settings(preset="16l", overrides=overrides).resolve().config)

    assert bytes_with("quantize.target_bytes=1.5e7") == 15_000_000
    assert bytes_with("quantize.target_bytes=limit", "pack.code_bytes_reserve=50000") == 16_000_000 - 52_000
    bits = [bytes_with("quantize.method=trellis", f"quantize.target_bits={b}") for b in (2, 3)]
    assert bits[1] - bits[0] == pytest.approx(41_385_984 / 8, rel=0.03)
    half = [bytes_with("quantize.method=rate", f"quantize.mlp.step={step}") for step in (0.5, 1.0)]
    assert half[0] - half[1] == pytest.approx(29_360_128 / 8, rel=1e-3), "half the step is a bit more"


def test_bytes_before_coding() -> None:
    config = Settings(preset="16l").resolve().config
    assert estimate(STAGES["train"], config, config.model)["output_bytes"] == 4 * 41_947_778
    assert 20_000_000 < weight_bytes(config) < 30_000_000
    assert estimate(STAGES["submit"], config, config.model) == {
        "output_bytes": None,
        "memory_bytes": None,
    }


def test_a_training_takes_the_tokenizers_size_from_the_data() -> None:
    make_artifact(Path("artifacts/data/other"), "token_data", metrics={"vocab_size": 333, "bos_id": 2})
    job = _train(data="artifacts/data/other")
    assert (job.config.model.vocab_size, job.config.model.bos_id) == (333, 2)
    assert _train("model.vocab_size=400", data="artifacts/data/other").config.model.vocab_size == 400


def test_data_that_is_not_at_hand_is_not_asked_for() -> None:
    make_artifact(Path("artifacts/data/full"), "token_data", metrics={"train_tokens": 5000})
    run_job(_train(data="artifacts/data/full"))
    target = "quantize.target_bytes=60e3"

    def job(*overrides: str, data: Path | None = None) -> Job:
        roles = {"model": Path("artifacts/a/train"), "data": data}
        return prepare(Request(stage="quantize", inputs=roles, settings=Settings(overrides=overrides)))

    assert set(job(target).inputs) == {"model", "data"}
    assert set(job().inputs) == set(job(target, "quantize.calibration=none").inputs) == {"model"}
    named = job(target, data=Path("artifacts/data/full"))
    assert named.key == job(target).key == job(target, "quantize.calibration=train").key
    Path("artifacts/data/full/content.txt").unlink()  # a shard is gone
    assert job(target).key == job(target, "quantize.calibration=none").key != named.key
    shutil.rmtree("artifacts/data/full")
    assert set(job(target).inputs) == {"model"}
    with pytest.raises(ArtifactError):  # what somebody chose is not given up
        job(target, "quantize.calibration=train")
