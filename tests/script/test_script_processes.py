"""The script in two processes computes what the stages compute in two, to the last digit."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from processes import in_processes, run_processes
from script_runs import Small

from golfpipe.config.resolve import load_stages, resolve_config
from golfpipe.jobs.job import Job, Outcome
from golfpipe.jobs.processes import follow_job
from golfpipe.jobs.run import run_job
from golfpipe.optim.process_group import ProcessGroup
from golfpipe.script.generate import generate_script
from golfpipe.stages.verify_script import SCRIPT_NAME, Numbers, read_numbers, run_stages, script_environment
from golfpipe.store.artifact import open_artifact


def staged(group: ProcessGroup) -> Numbers:
    """Train, quantize, pack, adapt and score."""
    folder = Path(os.environ["SMALL_FOLDER"])
    config = resolve_config(load_stages(folder / "stages.yaml"), preset="demo").config

    def run_together(job: Job) -> Outcome:
        """The first process runs every stage, the others follow where there is something to share."""
        shared = job.stage.name in ("train", "ttt", "evaluate")
        together = replace(job, context=replace(job.context, processes=group))
        if group.rank == 0:
            outcome = run_job(together if shared else job)
            group.first(0)  # it is written
            return outcome
        if shared:
            follow_job(together, group)
        group.first(0)
        return Outcome(artifact=open_artifact(job.out), up_to_date=False)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("golfpipe.stages.verify_script.run_job", run_together)
        return run_stages(config, "ttt", open_artifact(folder / "data"), folder / "two")


def test_the_script_in_two_processes_gives_the_numbers_of_the_stages(
    small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SMALL_FOLDER", str(small.folder))
    stages, _ = in_processes(staged, tmp_path)
    for name, value in script_environment(small.data, 0, {}).items():
        monkeypatch.setenv(name, value)
    (tmp_path / SCRIPT_NAME).write_bytes(generate_script(small.settings(adaptation="ttt"), "readable"))
    first, second = run_processes([SCRIPT_NAME], cwd=tmp_path)
    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    assert read_numbers(first.stdout) == stages
    assert second.stdout == ""
    assert [path.name for path in (tmp_path / "logs").iterdir()] == ["verify.txt"]
