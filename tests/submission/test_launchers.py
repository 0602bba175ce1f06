"""Launchers are run as far as they go without a service: with a stand-in for torchrun, srun and the modal package."""

from __future__ import annotations

import ast
import os
import re
import runpy
import subprocess
import sys
import types
from pathlib import Path

import pytest
from fake_run import FakeRun, submit_job

from golfpipe.cli.app import main
from golfpipe.errors import ConfigError
from golfpipe.jobs.run import run_job
from golfpipe.submission.launchers import LaunchSettings, launch_minutes, launcher_file
from golfpipe.submission.records_folder import records_folder

pytestmark = pytest.mark.usefixtures("quick_submissions")

SETTINGS = LaunchSettings(
    name='My "Entry"; rm -rf $HOME', seeds=(42, 1337), gpus=8, requirements=("torch==2.12.0", "numpy==2.1.0"),
    python="3.11", minutes=45,
)  # fmt: skip
TORCHRUN = """#!/usr/bin/env bash
echo "torchrun $* SEED=$SEED RUN_ID=$RUN_ID DATA_PATH=$DATA_PATH TOKENIZER_PATH=$TOKENIZER_PATH"
echo packed > packed.safetensors
mkdir -p logs && echo log > "logs/$RUN_ID.txt"
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A records folder with a script and every launcher, data, and a torchrun and srun that only say what they got."""
    folder = tmp_path / "records"
    folder.mkdir()
    (folder / "train_gpt.py").write_text("")
    for launcher in ("torchrun", "modal", "slurm"):
        name, content = launcher_file(launcher, SETTINGS)
        (folder / name).write_text(content)
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "torchrun").write_text(TORCHRUN)
    (tools / "srun").write_text('#!/usr/bin/env bash\nexec "$@"\n')
    for tool in tools.iterdir():
        tool.chmod(0o755)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "fineweb_val_000000.bin").write_bytes(b"")
    (tmp_path / "tokenizer.model").write_bytes(b"")
    return folder


def run(place: Path, name: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": f"{place.parent / 'bin'}:{os.environ['PATH']}"} | variables
    return subprocess.run(
        ["bash", place / name], env=environment, cwd=place.parent, capture_output=True, text=True, check=False
    )


def data_variables(place: Path) -> dict[str, str]:
    return {"DATA_PATH": str(place.parent / "data"), "TOKENIZER_PATH": str(place.parent / "tokenizer.model")}


@pytest.mark.parametrize("launcher", ["torchrun", "slurm"])
def test_shell_launchers_are_valid_and_filled_in(launcher):
    name, content = launcher_file(launcher, SETTINGS)
    assert subprocess.run(["bash", "-n"], input=content.encode(), check=False).returncode == 0
    assert "{{" not in content and "rm -rf" not in content
    assert "set -euo pipefail" in content and "--nproc_per_node" in content and "train_gpt.py" in content
    assert name.startswith("launch_")


def test_torchrun_runs_each_seed_in_its_own_folder(place):
    done = run(place, "launch_torchrun.sh", **data_variables(place))
    assert done.returncode == 0, done.stderr
    for seed in (42, 1337):
        out = place / "results" / f"seed{seed}"
        log = (out / f"train_seed{seed}.log").read_text()
        assert f"--nproc_per_node=8 {place}/train_gpt.py SEED={seed} RUN_ID=seed{seed}" in log
        assert f"DATA_PATH={place.parent}/data TOKENIZER_PATH={place.parent}/tokenizer.model" in log
        assert (out / "packed.safetensors").exists()
    done = run(place, "launch_torchrun.sh", **data_variables(place), SEEDS="7", GPUS="1")
    assert "--nproc_per_node=1" in done.stdout and "SEED=7" in done.stdout


def test_shell_launchers_say_what_is_missing(place):
    assert "DATA_PATH" in run(place, "launch_torchrun.sh").stderr
    assert "TOKENIZER_PATH" in run(place, "launch_torchrun.sh", DATA_PATH="/data").stderr
    assert "sbatch" in run(place, "launch_slurm.sh").stderr
    (place / "train_gpt.py").unlink()
    for name in ("launch_torchrun.sh", "launch_slurm.sh"):
        done = run(place, name, **data_variables(place), SLURM_SUBMIT_DIR=str(place))
        assert done.returncode == 2 and "no train_gpt.py" in done.stderr


def test_a_failing_script_fails_the_launcher(place):
    (place.parent / "bin" / "torchrun").write_text("#!/usr/bin/env bash\nexit 3\n")
    assert run(place, "launch_torchrun.sh", **data_variables(place)).returncode == 3


def test_slurm_runs_the_seed_of_its_array_index(place):
    header = dict(re.findall(r"^#SBATCH --([\w-]+)(?:=(.*))?$", (place / "launch_slurm.sh").read_text(), re.MULTILINE))
    assert header["array"] == "0-1" and header["gpus-per-node"] == "8" and header["time"] == "00:45:00"
    assert re.fullmatch(r"[a-z0-9-]+", header["job-name"]) and header["nodes"] == "1"
    slurm = {"SLURM_SUBMIT_DIR": str(place), "SLURM_ARRAY_TASK_ID": "1", "SLURM_GPUS_ON_NODE": "8"}
    done = run(place, "launch_slurm.sh", **data_variables(place), **slurm)
    assert done.returncode == 0, done.stderr
    assert "SEED=1337" in (place / "results" / "seed1337" / "train_seed1337.log").read_text()


class FakeModal(types.ModuleType):
    """What launch_modal.py uses of the modal package; records what it was asked for."""

    def __init__(self) -> None:
        super().__init__("modal")
        self.calls: dict[str, object] = {}
        calls = self.calls

        class Image:
            @staticmethod
            def debian_slim(python_version):
                calls["python"] = python_version
                return Image()

            def pip_install(self, *packages):
                calls["packages"] = packages
                return self

            def add_local_file(self, local, remote):
                calls["file"] = (Path(local), remote)
                return self

        class Volume:
            @staticmethod
            def from_name(name, create_if_missing=False):
                calls["volume"] = name
                return Volume()

        class App:
            def __init__(self, name):
                calls["app"] = name

            def function(self, **settings):
                calls["function"] = settings

                def decorate(function):
                    function.map = lambda values: [function(value) for value in values]
                    return function

                return decorate

            def local_entrypoint(self):
                return lambda function: function

        self.App, self.Image, self.Volume = App, Image, Volume


def test_modal_asks_for_what_it_needs_and_copies_results_back(place, monkeypatch):
    path = place / "launch_modal.py"
    ast.parse(path.read_text())
    modal = FakeModal()
    monkeypatch.setitem(sys.modules, "modal", modal)
    monkeypatch.setenv("PATH", f"{place.parent / 'bin'}:{os.environ['PATH']}")
    # Its volume and script lie at fixed places in the container; here they lie below the test's folder.
    mount = place.parent / "mount"
    (mount / "shards" / "inner").mkdir(parents=True)
    (mount / "shards" / "inner" / "fineweb_val_000000.bin").write_bytes(b"")
    path.write_text(
        path.read_text().replace('"/data", "/sub', f'"{mount}", "/sub').replace('"/tmp"', f'"{place.parent}"')
    )
    names = runpy.run_path(str(path))
    calls = modal.calls
    assert calls["python"] == "3.11" and calls["packages"] == ("torch==2.12.0", "numpy==2.1.0")
    assert calls["file"] == (place / "train_gpt.py", "/submission/train_gpt.py")
    function = calls["function"]
    assert function["gpu"] == "H100!:8" and function["timeout"] == 2700
    assert list(function["volumes"]) == [str(mount)] and calls["volume"] == f"{calls['app']}-data"
    with pytest.raises(SystemExit, match="lacks /shards"):
        names["main"]()
    (mount / "tokenizer.model").write_bytes(b"")
    names["main"]()
    for seed in (42, 1337):
        out = place / "results" / f"seed{seed}"
        assert (out / "packed.safetensors").read_text() == "packed\n"
        assert (out / "logs" / f"seed{seed}.txt").exists()
        log = (out / f"train_seed{seed}.log").read_text()
        assert "--nproc_per_node=8 /submission/train_gpt.py" in log and f"DATA_PATH={mount}/shards/inner" in log
    names["main"](seeds="9")
    assert (place / "results" / "seed9").is_dir()


def test_submit_adds_the_launchers_that_are_asked_for(tmp_path, capsys):
    run_ = FakeRun(tmp_path / "a", adapted=False).build()
    evaluation = str(run_.folder / "evaluate-pack")
    out = tmp_path / "s"
    assert main(["submit", evaluation, "-o", str(out), "--launcher", "torchrun", "--launcher", "modal", "-q"]) == 0
    folder = next(out.rglob("submission.json")).parent
    assert {path.name for path in folder.glob("launch_*")} == {"launch_torchrun.sh", "launch_modal.py"}
    assert "`launch_modal.py`: starts the script per seed on 8 GPUs" in (folder / "README.md").read_text()
    assert "'torch==2.12.0'," in (folder / "launch_modal.py").read_text()
    assert main(["submit", evaluation, "-o", str(out), "--launcher", "aws", "-q"]) == 2
    none = run_job(submit_job([run_.open("evaluate-pack")], tmp_path / "t")).artifact
    assert not list(records_folder(none).glob("launch_*"))
    with pytest.raises(ConfigError, match=r"submit\.gpus=9"):
        submit_job([run_.open("evaluate-pack")], tmp_path / "t", "submit.gpus=9")


def test_the_time_that_is_asked_for_follows_the_longest_seed():
    assert launch_minutes([600.0 + 560.0, None]) == 29 + 15
    assert launch_minutes([None]) == 45
