"""Any order of runs, kills, cleaning, other hosts' locks and damage: an output is the last finished artifact or the new
one, it is never worked on twice at once, and the next command always gets to the result of its settings."""

from __future__ import annotations

import json
import os
import shutil
import socket
import tempfile
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from golfpipe.config.schema import PipelineConfig
from golfpipe.errors import Busy, UsageError
from golfpipe.jobs.job import Context, Job
from golfpipe.jobs.key import stale_reasons
from golfpipe.jobs.registry import STAGES
from golfpipe.jobs.run import run_job
from golfpipe.jobs.unfinished import read_begun
from golfpipe.review.clean import find_removable, remove
from golfpipe.store.artifact import try_open
from golfpipe.store.files import old_folder, partial_folder
from golfpipe.store.lock import STALE_SECONDS, lock_holder, lock_path, output_lock
from reliability.faults import Point, faulty_disk

EVALUATE = replace(STAGES["evaluate"], module="fake_stages", inputs={})
TRAIN = replace(STAGES["train"], module="fake_stages", inputs={})
MOST_CHANGES = 60


class Killed(BaseException):
    """The process is gone: nothing that it still tries reaches the disk."""


class OutputMachine(RuleBasedStateMachine):
    """One output folder, and what its commands may meet."""

    @initialize(precious=st.booleans())
    def begin(self, precious: bool) -> None:
        self.folder = Path(tempfile.mkdtemp()).resolve()
        self.out = self.folder / "run" / "out"
        self.stage = TRAIN if precious else EVALUATE
        self.finished: int | None = None  # the setting of the artifact that must be there
        self.begun: int | None = None  # that of a killed run, which may have finished or be resumed
        self.known: dict[int, str] = {}

    def job(self, setting: int, *, force: bool = False) -> Job:
        return Job(
            stage=self.stage, config=replace(PipelineConfig(),
                                             seed=setting) if self.stage is TRAIN else _stride(setting),
            inputs={}, out=self.out, context=Context(force=force),
        )  # fmt: skip

    def refused(self, setting: int) -> bool:
        """Whether precious work of other settings is, or may be, in the way."""
        return self.stage is TRAIN and any(other not in (None, setting) for other in (self.finished, self.begun))

    @rule(setting=st.integers(1, 3), force=st.booleans())
    def run(self, setting: int, force: bool) -> None:
        if self.other_host_works():
            self.run_beside_another(setting, force)
            return
        try:
            outcome = run_job(self.job(setting, force=force))
        except UsageError:
            assert self.refused(setting) and not force
            return
        digest = self.known.setdefault(setting, outcome.artifact.manifest.digest)
        assert outcome.artifact.manifest.digest == digest
        assert not outcome.up_to_date or not force
        self.finished, self.begun = setting, None
        assert stale_reasons(self.stage, self.job(setting).config, {}, try_open(self.out)) == []
        assert not partial_folder(self.out).exists() and not old_folder(self.out).exists()
        assert not lock_path(self.out).exists()

    @rule(setting=st.integers(1, 3), force=st.booleans(), number=st.integers(0, MOST_CHANGES), half=st.booleans())
    def run_and_die(self, setting: int, force: bool, number: int, half: bool) -> None:
        if self.other_host_works() or (self.refused(setting) and not force):
            return

        def act(point: Point) -> bool:
            if point.number == number and half and point.call == "write":
                return True
            if point.number >= number:
                raise Killed
            return False

        with mock.patch("golfpipe.store.lock._release"), faulty_disk(self.folder, act):
            try:
                run_job(self.job(setting, force=force))
                self.finished, self.begun = setting, None
                self.forget_lock()
                return
            except Killed:
                pass
        self.forget_lock()
        found = try_open(self.out)
        if found is not None and found.manifest.key == self.job(setting).key:
            self.finished, self.begun = setting, None
            self.known.setdefault(setting, found.manifest.digest)
        else:
            begun = read_begun(self.out)
            keys = {self.job(other).key: other for other in (1, 2, 3)}
            self.begun = keys[begun.key] if begun is not None else None

    def forget_lock(self) -> None:
        """The lock that the dead process left names a process that is no more."""
        if lock_path(self.out).exists():
            self.write_lock(socket.gethostname(), 0.0)

    def write_lock(self, host: str, age: float) -> None:
        self.out.parent.mkdir(exist_ok=True)
        lock_path(self.out).write_text(json.dumps({"host": host, "pid": 2**22 + 1, "started": "1", "token": "t"}))
        then = time.time() - age
        os.utime(lock_path(self.out), (then, then))

    def other_host_works(self) -> bool:
        return lock_holder(self.out) is not None

    @precondition(lambda self: not self.other_host_works())
    @rule(silent=st.booleans())
    def other_host_locks(self, silent: bool) -> None:
        self.write_lock("elsewhere", STALE_SECONDS + 5 if silent else 0.0)

    @precondition(lambda self: self.other_host_works())
    @rule()
    def other_host_falls_silent(self) -> None:
        self.write_lock("elsewhere", STALE_SECONDS + 5)

    @precondition(lambda self: not self.other_host_works())
    @rule(setting=st.integers(1, 3))
    def run_while_held(self, setting: int) -> None:
        with output_lock(self.out):
            self.run_beside_another(setting)

    def run_beside_another(self, setting: int, force: bool = False) -> None:
        """What is up to date is only looked at; all other work has to wait."""
        if self.finished == setting and not force:
            assert run_job(self.job(setting)).up_to_date
        else:
            with pytest.raises(Busy):
                run_job(self.job(setting, force=force))

    @rule()
    def clean(self) -> None:
        if not self.out.parent.exists() or self.other_host_works():
            return
        with suppress(UsageError):  # nothing of golfpipe's is there
            remove(find_removable(self.out.parent))
        if self.begun is not None:  # a checkpoint of hours stays
            assert (partial_folder(self.out) / "job.json").exists()

    @precondition(lambda self: self.finished is not None and self.begun is None and not self.other_host_works())
    @rule()
    def cut_short(self) -> None:
        """A file loses its end: the artifact is stale, and made again."""
        if self.stage is TRAIN or not (self.out / "content.txt").exists():
            return
        os.truncate(self.out / "content.txt", 3)
        config = self.job(self.finished or 0).config
        assert stale_reasons(self.stage, config, {}, try_open(self.out)) == ["files are missing or cut short"]
        run_job(self.job(self.finished or 0))

    @invariant()
    def what_is_there_is_whole(self) -> None:
        if not hasattr(self, "out") or self.other_host_works():
            return
        found = try_open(self.out)
        if self.finished is not None:
            assert found is not None, "a finished artifact is gone"
        if found is not None:
            for name in found.manifest.files:
                found.file(name)
            assert self.finished is not None and found.manifest.key == self.job(self.finished).key

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            shutil.rmtree(self.folder)


def _stride(setting: int) -> PipelineConfig:
    config = PipelineConfig()
    return replace(config, evaluate=replace(config.evaluate, stride=setting))


OutputMachine.TestCase.settings = settings(
    max_examples=25,
    stateful_step_count=15,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=True,
)
TestOutputs = OutputMachine.TestCase
