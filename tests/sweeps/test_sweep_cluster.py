"""A sweep as a job array in processes of their own: submitit writes the array, a stand-in for Slurm runs it."""

from __future__ import annotations

import json
from pathlib import Path

import fake_slurm
import pytest

from golfpipe.cli.app import main
from golfpipe.store.artifact import Artifact
from golfpipe.sweeps import slurm as sweep_slurm

pytest.importorskip("submitit")


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, value in fake_slurm.install(tmp_path / "slurm").items():
        monkeypatch.setenv(name, value)
    monkeypatch.setitem(sweep_slurm.POLL_SECONDS, "slurm", 0.1)
    monkeypatch.setattr(sweep_slurm, "QUEUE_SECONDS", 0.2)
    monkeypatch.setattr(sweep_slurm, "GRACE_SECONDS", 0.1)
    return tmp_path / "slurm"


def test_an_array_with_a_lost_task_and_again(
    chain: object, slurm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    quantized: Artifact = chain.quantized  # type: ignore[attr-defined]
    out = tmp_path / "sweep"
    words = ["sweep", str(quantized.path), "--grid", "pack.coder=range,nibble", "--stages", "pack", "-o", str(out)]
    cluster = ["--executor", "slurm", "--slurm", "partition=gpu", "--slurm", "time=30", "--json"]
    monkeypatch.setenv("FAKE_SLURM_LOST", "1")
    assert main([*words, *cluster]) == 1
    rows = json.loads(capsys.readouterr().out)["cells"]
    assert [row["state"] for row in rows] == ["done", "failed"]
    assert "OUT_OF_MEMORY" in rows[1]["error"] and "--slurm mem" in rows[1]["hint"]
    script = (slurm / "1.sh").read_text()
    for line in ("array=0-1%2", "partition=gpu", "time=30", "cpus-per-task=1"):
        assert f"#SBATCH --{line}\n" in script
    monkeypatch.delenv("FAKE_SLURM_LOST")
    assert main([*words, *cluster]) == 0
    rows = json.loads(capsys.readouterr().out)["cells"]
    assert [row["state"] for row in rows] == ["up to date", "done"]
    assert len(list(slurm.glob("*.sh"))) == 2 and not (out / "slurm").exists()
    assert main([*words, "--json"]) == 0  # on this machine: the same keys, so nothing to do
    assert json.loads(capsys.readouterr().out)["up_to_date"] is True
