"""`train --dry-run` refuses what the training would refuse, with the same words, and tells the time of a step."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from golfpipe.cli.app import main
from golfpipe.jobs.processes import check_processes
from golfpipe.pipeline.dry_run import plan_job
from golfpipe.stages.training_measure import measured_step_seconds
from golfpipe.store.lock import output_lock
from golfpipe.training.trainer import Trainer


@pytest.fixture
def words(chain: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The command of a training that would run, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "stages.yaml").write_bytes((chain.folder / "stages.yaml").read_bytes())
    return ["train", str(chain.data.path), "--preset", "demo", "--name", "x", "--threads", "1"]


def _cut_shard(chain: Any, folder: Path) -> str:
    """Copy the data, and cut a train shard short."""
    shutil.copytree(chain.data.path, folder / "cut")
    shard = next((folder / "cut").rglob("*train*.bin"))
    shard.write_bytes(shard.read_bytes()[:-2])
    return str(folder / "cut")


def _refusals(chain: Any, folder: Path) -> dict[str, list[str]]:
    """More words of the command, by what is wrong with them. A path at the start replaces the data."""
    return {
        "vocabulary": ["--set", "model.vocab_size=100"],
        "short data": ["--set", "train.context_length=100000", "--set", "train.batch_tokens=100000"],
        "device": ["--device", "cuda"],
        "tracker": ["--set", "train.track=trackio"],
        "nothing to price": [
            *("--set", "train.rate_penalty=1", "--set", "train.qat.rules=[{match: '*', to: small}]"),
            *("--set", "train.qat_start=1"),
        ],
        "another architecture": ["--init", str(chain.trained.path), "--set", "model.num_layers=3"],
        "damaged shard": [_cut_shard(chain, folder)],
    }


@pytest.mark.parametrize(
    "what",
    ["vocabulary", "short data", "device", "tracker", "nothing to price", "another architecture", "damaged shard"],
)
def test_a_dry_run_refuses_what_the_run_refuses(
    what: str, words: list[str], chain: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if what == "device" and torch.cuda.is_available():
        pytest.skip("there is such a device")
    more = _refusals(chain, tmp_path)[what]
    if what == "damaged shard":
        words[1] = more.pop()
    code = main([*words, *more, "--json", "--dry-run"])
    said = json.loads(capsys.readouterr().out)["error"]["message"]
    assert not Path("artifacts").exists()
    assert code == main([*words, *more, "--json"]) != 0
    assert said == json.loads(capsys.readouterr().out)["error"]["message"]


def test_a_dry_run_refuses_an_output_that_cannot_be_made(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("in the way")
    assert main([*words, "-o", "file/train", "--dry-run"]) == main([*words, "-o", "file/train"]) == 1
    assert "file/train: cannot be written: " in capsys.readouterr().err


def test_a_dry_run_refuses_an_output_that_is_precious_or_being_written(
    words: list[str], chain: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(chain.trained.path, "artifacts/x/train")
    assert main([*words, "--dry-run", "--set", "train.max_steps=7"]) == 2
    assert "holds a trained_model already, and it differs: config train.max_steps: 6 -> 7" in capsys.readouterr().err
    assert main([*words, "--dry-run", "--set", "train.max_steps=7", "--force"]) == 0
    with output_lock(Path("artifacts/y/train")):
        assert main([*words, "--name", "y", "--dry-run"]) == 75


def test_processes_that_cannot_share_the_work_are_refused(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*words, "--nproc", "3", "--dry-run"]) == 2  # 4 sequences
    assert "3 processes cannot share evenly" in capsys.readouterr().err
    assert main([*words, "--nproc", "2", "--dry-run"]) == 0
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(Exception, match="2 processes on a machine with 1 GPUs"):
        check_processes(torch.device("cuda"), 2)


def test_the_time_is_estimated_for_the_machine_and_the_basis_is_said(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    plans = []
    for more in ([], ["--machine", "laptop"], ["--machine", "gpu-80gb"]):
        assert main([*words, "--dry-run", "--json", *more]) == 0
        plans.append(json.loads(capsys.readouterr().out)["plan"])
    assert (
        plans[0]["seconds_basis"]
        == plans[1]["seconds_basis"]
        == ("on laptop: measured with preset tiny on two cores of an AMD EPYC")
    )
    assert plans[2]["seconds_basis"].startswith("on gpu-80gb: estimated, ")
    assert plans[2]["seconds"] == pytest.approx(6 * 0.02)
    assert {plan["key"] for plan in plans} == {plans[0]["key"]}
    assert not Path("artifacts").exists()


def test_measuring_runs_a_few_steps_and_says_so(
    words: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[int] = []
    real = Trainer.step

    def counted(self: Trainer) -> Any:
        ran.append(self.sequences)
        return real(self)

    monkeypatch.setattr(Trainer, "step", counted)
    assert main([*words, "--dry-run", "--measure", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)["plan"]
    assert plan["seconds_basis"] == "measured here on 7 short steps"
    assert plan["seconds"] > 0
    assert len(ran) == 7
    assert not Path("artifacts").exists()
    assert main([*words, "--measure"]) == 2
    assert "--measure is for --dry-run" in capsys.readouterr().err


def test_a_step_of_many_passes_is_one_and_the_difference_for_each_further_one(
    chain: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock is replaced: a pass takes 3 seconds, and what a step adds to its passes takes 10."""
    monkeypatch.setattr("golfpipe.stages.training_measure._seconds", lambda trainer, passes: 10.0 + 3.0 * passes)
    job = chain.job("train", "never", "train.micro_batch_sequences=1", data=chain.data)
    sequences = job.config.train.batch_tokens // job.config.train.context_length
    assert sequences == 4
    assert measured_step_seconds(job) == 10.0 + 3.0 * 4
    assert measured_step_seconds(job, processes=2) == 10.0 + 3.0 * 2
    whole = replace(job, config=replace(job.config, train=replace(job.config.train, micro_batch_sequences=0)))
    assert measured_step_seconds(whole) == 13.0


def test_a_finished_training_needs_no_check(chain: Any) -> None:
    assert plan_job(replace(chain.job("train", "train", data=chain.data), out=chain.trained.path)).reasons == ()
