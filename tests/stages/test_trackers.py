"""Trackers get the numbers of log.jsonl; they cost nothing unless asked for, and cannot end a run."""

from __future__ import annotations

import json
import math
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from golfpipe.cli.app import main


class FakeTrackio(ModuleType):
    """Has trackio's three functions."""

    def __init__(self) -> None:
        super().__init__("trackio")
        self.runs: list[dict[str, Any]] = []
        self.fails = False

    def init(self, **options: Any) -> None:
        print("* Trackio project initialized: golfpipe")
        self.runs.append({"options": options, "logged": [], "finished": False})

    def log(self, metrics: dict[str, float], step: int | None = None) -> None:
        if self.fails:
            raise ConnectionError("the dashboard is gone")
        self.runs[-1]["logged"].append((step, metrics))

    def finish(self) -> None:
        self.runs[-1]["finished"] = True


class FakeWandb(ModuleType):
    """Has what golfpipe calls of wandb, and somebody who is logged in or not."""

    def __init__(self, *, logged_in: bool) -> None:
        super().__init__("wandb")
        self.logged_in = logged_in
        self.runs: list[FakeWandbRun] = []
        self.Settings = dict

    def login(self, prompt: bool) -> bool:
        assert not prompt
        return self.logged_in

    def init(self, **options: Any) -> FakeWandbRun:
        self.runs.append(FakeWandbRun(options))
        return self.runs[-1]


class FakeWandbRun:
    def __init__(self, options: dict[str, Any]) -> None:
        self.options, self.finished = options, False
        self.logged: list[tuple[int, dict[str, float]]] = []
        self.offline = options["mode"] == "offline"
        self.dir = f"{options['dir']}/wandb/offline-run-1/files"
        self.url = None if self.offline else "https://a.place/run"

    def log(self, values: dict[str, float], step: int) -> None:
        assert not self.logged or step >= self.logged[-1][0]  # wandb drops what goes back
        self.logged.append((step, values))

    def finish(self) -> None:
        self.finished = True


@pytest.fixture(autouse=True)
def workspace(chain: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "stages.yaml").write_bytes((chain.folder / "stages.yaml").read_bytes())


@pytest.fixture
def trackio(monkeypatch: pytest.MonkeyPatch) -> FakeTrackio:
    module = FakeTrackio()
    monkeypatch.setitem(sys.modules, "trackio", module)
    module.__spec__ = ModuleSpec("trackio", None)  # by which it counts as installed
    return module


def _train(chain: Any, name: str, *more: str) -> int:
    words = ["train", str(chain.data.path), "--preset", "demo", "--name", name, "--threads", "1", "-q"]
    return main([*words, *[word for setting in more for word in ("--set", setting)]])


def _logged(name: str) -> list[tuple[int, str, float]]:
    """(step, name, value) of every number in log.jsonl."""
    found, step = [], 0
    for line in Path(f"artifacts/{name}/train/log.jsonl").read_text().splitlines():
        record = json.loads(line)
        step = record.get("step", step)
        numbers = {key: value for key, value in record.items() if type(value) in (int, float) and key != "step"}
        found += [(step, f"{record['type']}/{key}", value) for key, value in numbers.items()]
    return found


def test_trackio_gets_what_the_log_has_and_the_model_is_the_same(
    chain: Any, trackio: FakeTrackio, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _train(chain, "a", "train.track=trackio") == 0
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("artifacts/a/train\n", "")
    [run] = trackio.runs
    assert run["finished"] and run["options"]["resume"] == "never"
    assert run["options"]["config"]["train"]["max_steps"] == 6
    sent = [(step, name, value) for step, metrics in run["logged"] for name, value in metrics.items()]
    assert sorted(sent) == sorted(_logged("a"))
    assert {"step/train_loss_nats", "step/lr_factor", "validation/val_bpb", "end/val_bpb"} <= {
        name for _, name, _ in sent
    }
    assert _train(chain, "a") == 0  # up to date: how it was watched decides nothing


@pytest.mark.parametrize(
    ("logged_in", "mode", "wanted"), [(True, None, None), (False, None, "offline"), (False, "disabled", None)]
)
def test_wandb_gets_what_the_log_has_and_asks_nobody_to_log_in(
    chain: Any, monkeypatch: pytest.MonkeyPatch, logged_in: bool, mode: str | None, wanted: str | None
) -> None:
    wandb = FakeWandb(logged_in=logged_in)
    wandb.__spec__ = ModuleSpec("wandb", None)
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    if mode is not None:
        monkeypatch.setenv("WANDB_MODE", mode)
    for name in ("a", "b"):
        assert _train(chain, name, "train.track=wandb") == 0
    first, second = wandb.runs
    assert first.finished and first.options["mode"] == wanted and first.options["resume"] is None
    assert first.options["dir"] == "artifacts/a" and first.options["config"]["train"]["max_steps"] == 6
    assert first.options["id"] != second.options["id"]  # the same work in another folder is another run
    sent = [(step, name, value) for step, values in first.logged for name, value in values.items()]
    assert sorted(sent) == sorted(_logged("a"))


def test_wandb_itself_writes_offline(chain: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert _train(chain, "a", "train.track=wandb") == 0
    [written] = Path("artifacts/a/wandb").glob("offline-run-*/run-*.wandb")
    content = written.read_bytes()
    assert all(name.encode() in content and json.dumps(value).encode() in content for _, name, value in _logged("a"))


def test_a_tracker_that_fails_is_left_out(chain: Any, trackio: FakeTrackio, capsys: pytest.CaptureFixture[str]) -> None:
    trackio.fails = True
    assert _train(chain, "a", "train.track=trackio") == 0
    err = capsys.readouterr().err
    assert err.count("warning") == 1 and "trackio failed and is left out from here on: the dashboard is gone" in err


def test_a_missing_package_is_one_line_before_any_work(
    chain: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    assert _train(chain, "a", "train.track=tensorboard") == 1
    err = capsys.readouterr().err
    assert "the package tensorboard, used by train.track=tensorboard, is not installed" in err
    assert "pip install 'golfpipe[track]'" in err and not Path("artifacts/a/tensorboard").exists()


def test_tensorboard_reads_it_back(chain: Any) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    assert _train(chain, "a", "train.track=tensorboard") == 0
    events = EventAccumulator("artifacts/a/tensorboard/train")
    events.Reload()
    read = {(event.step, name, event.value) for name in events.Tags()["scalars"] for event in events.Scalars(name)}
    wanted = {(step, name, value) for step, name, value in _logged("a")}
    assert {entry[:2] for entry in read} == {entry[:2] for entry in wanted}
    values = {entry[:2]: entry[2] for entry in wanted}
    assert all(math.isclose(value, values[step, name], rel_tol=1e-6) for step, name, value in read)
