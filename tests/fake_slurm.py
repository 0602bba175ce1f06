"""sbatch, srun, squeue, sacct and scancel for one machine: enough of Slurm to run a job array for real, in processes.

Each task runs at once. A task whose index is in FAKE_SLURM_LOST ends without running, as one out of memory would.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

COMMANDS = ("sbatch", "srun", "squeue", "sacct", "scancel")


def install(folder: Path) -> dict[str, str]:
    """Write the commands into `folder`; the environment in which they are found, and golfpipe with them."""
    folder.mkdir()
    for name in COMMANDS:
        path = folder / name
        path.write_text(f'#!/bin/sh\nexec {sys.executable} {__file__} {name} "$@"\n')
        path.chmod(0o755)
    return {
        "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}",
        "FAKE_SLURM": str(folder),
        "PYTHONPATH": str(Path(__file__).resolve().parents[1]),
    }


def sbatch(script: str) -> None:
    folder, text = Path(os.environ["FAKE_SLURM"]), Path(script).read_text()
    job = 1 + len(list(folder.glob("*.sh")))
    kept = folder / f"{job}.sh"
    kept.write_text(text)
    array = re.search(r"^#SBATCH --array=0-(\d+)", text, re.MULTILINE)
    for index in range(int(array[1]) + 1) if array else [None]:
        name = f"{job}_{index}" if index is not None else str(job)
        (folder / f"{name}.state").write_text("PENDING")
        with (folder / f"{name}.log").open("w") as log:  # sbatch returns, and whoever reads its output, before the end
            words = [sys.executable, __file__, "task", str(kept), name]
            subprocess.Popen(words, start_new_session=True, stdout=log, stderr=log)
    print(f"Submitted batch job {job}")


def task(script: str, name: str) -> None:
    """One task of an array, to its end."""
    job, _, index = name.partition("_")
    state = Path(os.environ["FAKE_SLURM"]) / f"{name}.state"
    if index in os.environ.get("FAKE_SLURM_LOST", "").split():
        state.write_text("OUT_OF_MEMORY")
        return
    array = {"SLURM_ARRAY_JOB_ID": job, "SLURM_ARRAY_TASK_ID": index} if index else {}
    process = subprocess.Popen(
        ["bash", script], env=os.environ | {"SLURM_JOB_ID": job, "SLURM_NTASKS": "1"} | array, start_new_session=True
    )
    state.write_text(f"RUNNING {process.pid}")
    code = process.wait()
    state.write_text("COMPLETED" if code == 0 else "CANCELLED" if code < 0 else "FAILED")


def srun(*words: str) -> None:
    values = {"--output", "--error"}
    rest = list(words)
    while rest[0].startswith("-"):
        rest = rest[2 if rest[0] in values else 1 :]
    os.execvp(rest[0], rest)


def squeue(*words: str) -> None:
    for path in sorted(Path(os.environ["FAKE_SLURM"]).glob("*.state")):
        if path.read_text().startswith(("PENDING", "RUNNING")):
            print(path.stem)


def sacct(*words: str) -> None:
    print((Path(os.environ["FAKE_SLURM"]) / f"{words[-1]}.state").read_text().partition(" ")[0])


def scancel(name: str) -> None:
    state, _, process = (Path(os.environ["FAKE_SLURM"]) / f"{name}.state").read_text().partition(" ")
    if state == "RUNNING":
        os.killpg(int(process), signal.SIGTERM)


if __name__ == "__main__":
    {function.__name__: function for function in (sbatch, task, srun, squeue, sacct, scancel)}[sys.argv[1]](
        *sys.argv[2:]
    )
