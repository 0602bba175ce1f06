"""A running training is followed from its log and job.json, until its lock is gone."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest
from fake_run import FakeRun

from golfpipe.cli.app import main
from golfpipe.cli.commands import status as command
from golfpipe.config.schema import plain_config
from golfpipe.jobs.unfinished import JOB_FILE
from golfpipe.review.progress import running_training, training_progress, watch_training
from golfpipe.store.canonical import digest_of
from golfpipe.store.lock import output_lock


def _begin(fake: FakeRun, *, max_seconds: float = 0.0, steps: int = 40) -> Path:
    """A training in progress at two steps per second, whose last line is still being written."""
    out = fake.folder / "again"
    partial = fake.folder / ".again.partial"
    partial.mkdir()
    config = plain_config(fake.config)
    config["train"] |= {"max_steps": 100, "max_seconds": max_seconds}
    fields = {"key": "0" * 64, "config": config, "inputs": []}
    (partial / JOB_FILE).write_text(json.dumps(fields | {"checksum": digest_of(fields)}))
    lines = [
        json.dumps({"type": "step", "step": n, "train_loss_nats": 5 - n / 100, "elapsed_seconds": n / 2})
        for n in range(1, steps + 1)
    ]
    (partial / "log.jsonl").write_text("\n".join([json.dumps({"type": "start"}), *lines, '{"type": "st']))
    return out


def test_progress_is_read_from_the_log(fake: FakeRun) -> None:
    progress = training_progress(_begin(fake))
    assert (progress.step, progress.max_steps, progress.train_loss_nats) == (40, 100, pytest.approx(4.6))
    assert progress.steps_per_second == pytest.approx(2)
    assert progress.seconds_left == pytest.approx(30)
    assert command.progress_text(progress) == "step 40 of 100, loss 4.6000, 2 steps/s, 30.0 s left"


def test_a_clock_that_ends_training_is_heeded_and_a_start_has_no_numbers(fake: FakeRun) -> None:
    out = _begin(fake, max_seconds=25)
    assert training_progress(out).seconds_left == pytest.approx(5)
    (fake.folder / ".again.partial" / "log.jsonl").write_text("")
    assert command.progress_text(training_progress(out)) == "training starts"
    (fake.folder / ".again.partial" / "job.json").write_text("{")
    assert training_progress(out).max_steps is None


def test_watching_ends_with_the_training(fake: FakeRun) -> None:
    out = _begin(fake)
    assert running_training(fake.folder) is None
    with output_lock(out):
        assert running_training(fake.folder) == running_training(out) == out
        looks = watch_training(out, 5, sleep=lambda seconds: None)
        assert next(looks).step == next(looks).step == 40
    assert list(looks) == []


def test_the_command_follows_and_then_shows_the_status(
    fake: FakeRun, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "WATCH_SECONDS", 0.01)
    assert main(["status", str(fake.folder), "--watch"]) == 0
    assert "no training is running here" in capsys.readouterr().err
    out = _begin(fake)
    started, end = threading.Event(), threading.Event()

    def hold() -> None:
        with output_lock(out):
            started.set()
            end.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    started.wait(10)
    threading.Timer(0.2, end.set).start()
    assert main(["status", str(fake.folder), "--watch"]) == 0
    thread.join()
    captured = capsys.readouterr()
    assert captured.err.splitlines() == ["step 40 of 100, loss 4.6000, 2 steps/s, 30.0 s left"]
    assert "again" in captured.out
