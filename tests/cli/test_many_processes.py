"""Commands in several processes: one voice, one exit code, one writer."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from processes import TESTS, run_processes
from small_chain import write_small_stages, write_texts

from golfpipe.cli.app import main
from golfpipe.cli.torchrun import check_can_share, exit_code_of
from golfpipe.errors import StageFailed, UsageError
from golfpipe.store.artifact import open_artifact
from golfpipe.store.files import partial_folder


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("many")
    write_small_stages(folder)
    write_texts(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(["data", "tokenize", "my-texts", "-o", "data", "--set", "data.val_fraction=0.3", "-q"]) == 0
        assert main(["train", "data", "--preset", "demo", "-o", "one/train", "--threads", "1", "-q"]) == 0
    return folder


@pytest.fixture
def here(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(workspace)
    return workspace


def _steps(log: Path) -> list[int]:
    return [line["step"] for line in map(json.loads, log.read_text().splitlines()) if line["type"] == "step"]


def test_ctrl_c_saves_in_all_and_one_process_goes_on(here: Path) -> None:
    """The real thing: --nproc starts torchrun, a signal stops all after one step, and the message comes once."""
    words = [sys.executable, "-m", "golfpipe", "train", "data", "--preset", "demo", "-o", "two/train", "--nproc", "2"]
    started = subprocess.Popen(
        [*words, "--set", "train.max_steps=150", "--set", "train.validate_every=0"],
        cwd=here,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(TESTS.parent)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    log, deadline = Path(), time.monotonic() + 100
    while not (log.is_file() and '"step":7,' in log.read_text()) and time.monotonic() < deadline:
        time.sleep(0.05)
        log = partial_folder(here / "two" / "train") / "log.jsonl"
    started.send_signal(signal.SIGINT)
    out, err = started.communicate(timeout=100)
    assert started.returncode == 130, err
    assert out == ""
    lines = err.splitlines()
    assert [line for line in lines if line.startswith("hint")] == [
        "hint: golfpipe train --resume -o two/train --nproc 2"
    ]
    assert len([line for line in lines if line.startswith("error: stopped after step")]) == 1
    done = len(_steps(log))
    assert _steps(log) == list(range(1, done + 1))
    assert main(["train", "data", "--preset", "demo", "-o", "two/train", "--set", "train.max_steps=9"]) == 2
    assert main(["train", "--resume", "-o", "two/train", "-q", "--set", "train.validate_every=0"]) == 0
    model = open_artifact(here / "two" / "train")
    assert model.manifest.metrics["steps"] == 150
    assert _steps(model.path / "log.jsonl") == list(range(1, 151))


FAILING = """
import os, sys
from golfpipe.cli.app import main
from golfpipe.errors import DataError
from golfpipe.training.trainer import Trainer
step = Trainer.step
def failing(self):
    if self.steps_done == 3 and os.environ["RANK"] == "1":
        raise DataError("a tape is torn", hint="mend it")
    return step(self)
Trainer.step = failing
sys.exit(main(sys.argv[1:]))
"""


def test_an_error_of_one_process_ends_all_with_its_message_and_code(here: Path) -> None:
    words = ["train", "data", "--preset", "demo", "-o", "failed/train", "--set", "train.validate_every=0", "--json"]
    finished = run_processes(["-c", FAILING, *words])
    assert [process.returncode for process in finished] == [2, 2]
    assert "error" not in finished[0].stderr
    assert finished[1].stderr == "error: a tape is torn\nhint: mend it\n"
    assert finished[0].stdout == ""
    assert json.loads(finished[1].stdout)["error"]["type"] == "DataError"
    assert not (here / "failed" / "train").exists()
    assert not (here / "failed" / ".train.lock").exists()


def test_commands_for_one_process_refuse_torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "RANK": "0",
        "LOCAL_RANK": "0",
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "h",
        "MASTER_PORT": "1",
    }.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match="golfpipe quantize runs in one process, torchrun started 2"):
        check_can_share(["quantize", "x"])
    check_can_share(["evaluate", "merge", "x"])


def test_a_killed_process_is_named() -> None:
    failures = {1: SimpleNamespace(exitcode=-9), 0: SimpleNamespace(exitcode=-15)}
    with pytest.raises(StageFailed, match="process 1 was killed by SIGKILL"):
        exit_code_of(failures)
    assert exit_code_of({0: SimpleNamespace(exitcode=75), 1: SimpleNamespace(exitcode=1)}) == 75
