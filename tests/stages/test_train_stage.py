"""Interruption, resumption and protection of trained models."""

import json
import os
import shutil
import signal
import threading

import numpy as np
import pytest
from recording_reporter import RecordingReporter

from golfpipe.errors import ArtifactError, Interrupted, StageFailed, UsageError
from golfpipe.jobs.job import Context
from golfpipe.jobs.run import run_job
from golfpipe.scoring.score import Score
from golfpipe.stages.validation import Validation
from golfpipe.store.artifact import open_artifact
from golfpipe.store.files import partial_folder

LONG = ("train.max_steps=40", "train.checkpoint_every=10", "train.validate_every=0")


def interrupt_when(job, text):
    """Send SIGTERM once the log of the run holds `text`; returns the thread."""

    def logged():
        log = partial_folder(job.out) / "log.jsonl"
        return log.exists() and text in log.read_text()

    def watch():
        while not logged():
            if stop.wait(0.002):
                return
        os.kill(os.getpid(), signal.SIGTERM)

    stop = threading.Event()
    thread = threading.Thread(target=watch)
    thread.stop = stop
    thread.start()
    return thread


def test_an_interrupted_run_resumes_to_the_same_model(chain, fresh):
    straight = chain.run("train", fresh("straight"), *LONG, data=chain.data)
    job = chain.job("train", fresh("stopped"), *LONG, data=chain.data)
    watcher = interrupt_when(job, '"step":7')
    with pytest.raises(Interrupted, match="stopped after step") as caught:
        run_job(job)
    watcher.join()
    assert caught.value.exit_code == 143
    assert "golfpipe train --resume" in caught.value.hint
    assert not job.out.exists()
    resumed = run_job(job).artifact
    assert resumed.manifest.digest == straight.manifest.digest
    steps = [json.loads(line) for line in (resumed.path / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in steps if line["type"] == "step"] == list(range(1, 41))
    assert not partial_folder(job.out).exists()


def test_a_crash_goes_on_from_the_last_checkpoint(chain, fresh, monkeypatch):
    straight = chain.run("train", fresh("straight"), *LONG, data=chain.data)
    job = chain.job("train", fresh("crashed"), *LONG, data=chain.data)
    from golfpipe.training.trainer import Trainer

    step = Trainer.step

    def dying(self):
        if self.steps_done == 25:
            raise KeyboardInterrupt
        return step(self)

    monkeypatch.setattr(Trainer, "step", dying)
    with pytest.raises(KeyboardInterrupt):
        run_job(job)
    done = []
    monkeypatch.setattr(Trainer, "step", lambda self: done.append(self.steps_done) or step(self))
    assert run_job(job).artifact.manifest.digest == straight.manifest.digest
    assert done[0] == 20


CHANGES = {
    "train in place": ("train", False),
    "train replaced": ("train", True),
    "val in place": ("val", False),
    "val replaced": ("val", True),
}


def change_shard(data, change):
    """Give the last shard of a split other tokens, in place or by another file, and return what puts it back."""
    split, replaced = CHANGES[change]
    path = sorted(data.glob(f"{split}_*.bin"))[-1]
    content = path.read_bytes()
    other = path.with_name("other") if replaced else path
    other.write_bytes(content[:1024] + bytes([9, 0]) * ((len(content) - 1024) // 2))
    if replaced:
        os.replace(other, path)
    return lambda: path.write_bytes(content)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("step", [3, 25, 40])
def test_a_shard_that_changes_stops_with_the_last_good_checkpoint(chain, fresh, monkeypatch, change, step):
    from golfpipe.training.trainer import Trainer

    straight = chain.run("train", fresh("straight"), *LONG, data=chain.data)
    shutil.copytree(chain.data.path, chain.folder / fresh("data"))
    data = open_artifact(chain.folder / fresh("data"))
    job = chain.job("train", fresh("changed"), *LONG, data=data)
    own, back = Trainer.step, []

    def changing(self):
        if self.steps_done == step - 1 and not back:
            back.append(change_shard(data.path, change))
        return own(self)

    monkeypatch.setattr(Trainer, "step", changing)
    with pytest.raises(ArtifactError, match="was changed while it was in use") as caught:
        run_job(job)
    assert "the weights since then saw other data" in caught.value.hint
    assert not job.out.exists()
    assert partial_folder(job.out).exists() == (step > 10)  # before the first checkpoint nothing is good
    with pytest.raises(ArtifactError, match="sha256 differs"):
        run_job(job)
    back[0]()
    done = []
    monkeypatch.setattr(Trainer, "step", lambda self: done.append(self.steps_done) or own(self))
    assert run_job(job).artifact.manifest.digest == straight.manifest.digest
    assert done[0] == (step - 1) // 10 * 10


def test_an_evaluation_of_a_shard_that_changes_is_not_kept(chain, fresh, monkeypatch):
    from golfpipe.stages import evaluate

    shutil.copytree(chain.data.path, chain.folder / fresh("data"))
    data, own = open_artifact(chain.folder / fresh("data")), evaluate.run
    monkeypatch.setattr(evaluate, "run", lambda job, out: (own(job, out), change_shard(data.path, "val in place"))[0])
    with pytest.raises(ArtifactError, match=r"val_000000\.bin: was changed while it was in use"):
        chain.run("evaluate", fresh("scored"), inherit=chain.packed, model=chain.packed, data=data)
    assert not (chain.folder / fresh("scored")).exists()


def test_a_trained_model_is_replaced_only_by_force(chain, fresh):
    first = chain.run("train", fresh("t"), data=chain.data)
    with pytest.raises(UsageError, match=r"train\.max_steps: 6 -> 7") as caught:
        chain.run("train", fresh("t"), "train.max_steps=7", data=chain.data)
    assert "--force" in caught.value.hint
    assert (first.path / "ema.safetensors").exists()
    forced = chain.run("train", fresh("t"), "train.max_steps=7", data=chain.data, context=Context(force=True))
    assert forced.manifest.metrics["steps"] == 7


def test_an_unfinished_run_of_other_settings_is_protected(chain, fresh):
    job = chain.job("train", fresh("t"), *LONG, data=chain.data)
    watcher = interrupt_when(job, '"step":3')
    with pytest.raises(Interrupted):
        run_job(job)
    watcher.join()
    with pytest.raises(UsageError, match=r"unfinished run of other settings.*train.max_steps: 40 -> 41"):
        chain.run("train", fresh("t"), *LONG, "train.max_steps=41", data=chain.data)
    assert (partial_folder(job.out) / "checkpoint.safetensors").exists()


def test_a_diverging_run_says_where_and_keeps_its_last_checkpoint(chain, fresh):
    job = chain.job(
        "train", fresh("t"), "train.max_steps=400", "train.checkpoint_every=1", "optim.scalar_lr=1e30",
        "optim.grad_clip=0", data=chain.data,
    )  # fmt: skip
    with pytest.raises(StageFailed, match=r"training diverged"):
        run_job(job)
    assert not job.out.exists()


def test_the_final_learning_rate_factors_are_in_the_log(chain):
    lines = [json.loads(line) for line in (chain.trained.path / "log.jsonl").read_text().splitlines()]
    factors = [line["lr_factor"] for line in lines if line["type"] == "step"]
    assert factors[0] == 1.0 and factors[-1] == pytest.approx(0.25)
    assert chain.trained.manifest.metrics["warmdown_start_step"] == 3


def test_a_validation_loss_that_rises_is_a_warning(chain, fresh, monkeypatch):
    losses = iter([2.0, 2.01, 1.5, 1.6, 1.7])

    def score(validation, trainer):
        return Score(*(np.array([value]) for value in (next(losses) * 10, 10, 10)))

    monkeypatch.setattr(Validation, "score", score)
    reporter = RecordingReporter()
    short = ("train.max_steps=5", "train.validate_every=1")
    job = chain.job("train", fresh("rising"), *short, data=chain.data, context=Context(reporter=reporter))
    run_job(job)
    assert [warning.split(":")[0] for warning in reporter.warnings if "validation loss" in warning] == [
        "step 4",
        "step 5",
    ]
    assert "above the 1.5000 of step 3" in reporter.warnings[-1]
