"""`train --init` and `train --replay`: what they start from, what they promise, and how they resume."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from golfpipe.cli.app import main
from golfpipe.errors import DataError, UsageError
from golfpipe.jobs.job import Context
from golfpipe.jobs.run import run_job
from golfpipe.loading.replay_log import read_replay, replay_arguments
from golfpipe.loading.weights import load_weights
from golfpipe.pipeline.settings import Settings
from golfpipe.pipeline.single import Request
from golfpipe.pipeline.training import prepare_training
from golfpipe.review.status import run_status
from golfpipe.store.artifact import open_artifact


@pytest.fixture(autouse=True)
def workspace(chain: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "stages.yaml").write_bytes((chain.folder / "stages.yaml").read_bytes())


def _words(chain: Any, name: str, *more: str) -> list[str]:
    return ["train", str(chain.data.path), "--preset", "demo", "--name", name, "--threads", "1", "-q", *more]


def test_a_warm_start_begins_at_the_models_weights(chain: Any) -> None:
    still = ["--set", "train.max_steps=1", "--set", "train.ema_decay=0"]
    frozen = [w for key in ("matrix_lr", "embed_lr", "scalar_lr") for w in ("--set", f"optim.{key}=0.0")]
    assert main(_words(chain, "a", "--init", str(chain.packed.path), *still, *frozen)) == 0
    made = open_artifact(Path("artifacts/a/train"))
    for name, weight in load_weights(chain.packed).items():
        torch.testing.assert_close(load_weights(made)[name], weight, rtol=0, atol=1e-6, msg=name)
    init = made.manifest.input("init")
    assert init is not None and init.digest == chain.packed.manifest.digest
    assert run_status(Path("artifacts/a")).stale == ()


def test_the_model_is_part_of_the_key(chain: Any) -> None:
    def job(init: Any) -> Any:
        inputs = {"data": chain.data.path, "init": init.path if init is not None else None}
        return prepare_training(Request(stage="train", inputs=inputs, settings=Settings(preset="demo")), "a")

    assert len({job(init).key for init in (None, chain.trained, chain.packed)}) == 3


def test_the_architecture_is_that_of_the_model(chain: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(_words(chain, "a", "--init", str(chain.trained.path), "--set", "model.num_layers=4")) == 2
    assert "model.num_layers: 2 -> 4" in capsys.readouterr().err
    # Presets give way: 12l has other techniques than demo.
    assert main([*_words(chain, "b", "--init", str(chain.trained.path)), "--preset", "12l", "--dry-run"]) == 0
    job = chain.job("train", "x", "model.num_layers=3", init=chain.trained, data=chain.data)
    with pytest.raises(UsageError, match=r"needs the same architecture: model\.num_layers: 2 -> 3"):
        run_job(job)


def test_an_interrupted_warm_start_resumes(chain: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from golfpipe.training.trainer import Trainer

    step = Trainer.step

    def dying(self: Trainer) -> Any:
        if self.steps_done == 4:
            raise KeyboardInterrupt
        return step(self)

    words = _words(chain, "a", "--init", str(chain.trained.path))
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "step", dying)
        assert main(words) == 130
    assert main(["train", "--resume", "--name", "a", "-q"]) == 0
    assert main(_words(chain, "b", "--init", str(chain.trained.path))) == 0
    made = [open_artifact(Path(f"artifacts/{name}/train")).manifest for name in "ab"]
    assert made[0].digest == made[1].digest and made[0].key == made[1].key


def test_a_replay_repeats_what_the_clock_decided(chain: Any) -> None:
    capped = ["--set", "train.max_seconds=0.3", "--set", "train.max_steps=500", "--set", "train.qat_start=0.5"]
    assert main(_words(chain, "capped", *capped)) == 0
    first = open_artifact(Path("artifacts/capped/train"))
    assert first.manifest.metrics["stop_reason"] == "max_seconds"
    assert main(_words(chain, "again", *capped, "--replay", "artifacts/capped/train")) == 0
    again = open_artifact(Path("artifacts/again/train"))
    assert again.read("ema.safetensors") == first.read("ema.safetensors")
    assert again.manifest.metrics["steps"] == first.manifest.metrics["steps"]
    assert again.manifest.key != first.manifest.key
    assert run_status(Path("artifacts/again")).stale == ()
    assert main(_words(chain, "again", *capped, "--replay", "artifacts/capped/train/log.jsonl")) == 0  # up to date


def test_the_digest_of_a_replay_is_that_of_its_decisions(chain: Any, tmp_path: Path) -> None:
    log = chain.trained.path / "log.jsonl"
    replay, digest = read_replay(log)
    assert len(replay.lr_factors) == chain.trained.manifest.metrics["steps"]
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    slower = [line | {"elapsed_seconds": 99.0} for line in lines]
    other = [line | {"lr_factor": 0.5} if line["type"] == "step" else line for line in lines]
    for records, equal in ((slower, True), (other, False)):
        path = tmp_path / "log.jsonl"
        path.write_text("".join(json.dumps(record) + "\n" for record in records))
        assert (read_replay(path)[1] == digest) is equal
    arguments, same = replay_arguments(tmp_path / "log.jsonl")
    assert arguments["replay_words"].endswith("log.jsonl") and same != digest


def test_what_is_no_log_is_refused(chain: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.jsonl").write_bytes(b"\xff\xfe")
    for path, error in ((tmp_path, UsageError), (tmp_path / "none", UsageError), (tmp_path / "x.jsonl", DataError)):
        with pytest.raises(error):
            read_replay(path)
    assert main(_words(chain, "a", "--replay", str(chain.packed.path))) == 3
    assert "kind packed_model, expected trained_model" in capsys.readouterr().err


def test_force_is_needed_to_replace(chain: Any) -> None:
    request = Request(
        stage="train", inputs={"data": chain.data.path}, settings=Settings(preset="demo"), context=Context(threads=1)
    )
    run_job(prepare_training(request, "a"))
    assert main(_words(chain, "a", "--init", str(chain.trained.path))) == 2


REFUSED = {
    "vocabulary": ["--set", "model.vocab_size=1024"],
    "device": ["--device", "cuda"],
    "context": ["--set", "train.context_length=100000"],
    "tracker": ["--set", "train.track=mlflow"],
}


@pytest.mark.parametrize("command", ["train", "run"])
@pytest.mark.parametrize("why", REFUSED)
def test_a_refused_training_does_not_block_its_correction(
    chain: Any, why: str, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    words = _words(chain, "a")
    if command == "run":
        words = ["run", str(chain.data.path), "--until", "train", *words[2:]]
    assert main([*words, *REFUSED[why]]) == 2
    assert not Path("artifacts/a/train").exists() and not Path("artifacts/a/.train.partial").exists()
    assert main(words) == 0


def test_a_refused_warm_start_does_not_block_its_correction(chain: Any) -> None:
    other = chain.run("train", "wide/train", "model.num_layers=3", data=chain.data)
    assert main(_words(chain, "a", "--init", str(other.path), "--set", "model.num_layers=2")) == 2
    assert main(_words(chain, "a")) == 0
