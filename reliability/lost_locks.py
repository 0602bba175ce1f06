"""A process that was stopped for so long that another host took its lock over goes on: it ends with exit 75 and changes
nothing.

Two host names write one folder. The first process stops itself with SIGSTOP at a random change of the disk, before it
or in the middle of a write, or is stopped from outside at a random moment. Its lock then gets the age of a takeover,
and the second host runs the same command. The first goes on either while the second is at work, stopped at a random
change itself so that every file can be compared, or after it has finished. The hosts change roles in every round.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import socket
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

from golfpipe.cli.app import main
from golfpipe.errors import GolfpipeError
from golfpipe.store.files import partial_folder
from golfpipe.store.lock import STALE_SECONDS, lock_path
from reliability.faults import Point, faulty_disk
from reliability.stage_commands import content_of, leftovers, run_child, start, steps_saved, words_of, workplace

STEPS = 12
SETTINGS = {"train": ("--set", f"train.max_steps={STEPS}", "--set", "train.checkpoint_every=2")}
HOSTS = ("alpha", "beta")
LOCKING_POINTS = 8
"""Changes of the disk before the one that takes over has begun its work."""
BUSY = 75


def run(count: int, seed: int, stages: tuple[str, ...] = ("train", "data tokenize", "pack")) -> dict[str, Any]:
    """`count` rounds of the first stage, a fifth of it of the others."""
    found: dict[str, Any] = {"stages": {}, "failures": []}
    with workplace() as folder:
        for number, stage in enumerate(stages):
            tried = _Stage(stage, folder, random.Random(f"{seed} {stage}"), found["failures"])
            found["stages"][stage] = tried.rounds(count if number == 0 else count // 5)
    found["rounds"] = sum(stage["rounds"] for stage in found["stages"].values())
    return found


class _Stage:
    """The rounds of one stage, in a place of its own."""

    def __init__(self, stage: str, folder: Path, source: random.Random, failures: list[str]) -> None:
        self.stage, self.source, self.failures = stage, source, failures
        self.place = folder / "shared"
        self.out = self.place / "runs" / "a" / "out"
        self.words = words_of(stage, self.out, *SETTINGS.get(stage, ()))
        self._fresh()
        points = folder / "points"
        ended = run_child(lambda: self._counting(points), folder / "log")
        self.points, self.seconds, self.expected = int(points.read_text()), ended.seconds, content_of(self.out)
        if ended.code or self.expected is None:
            raise RuntimeError(f"{stage}: {ended.text}")

    def rounds(self, count: int) -> dict[str, Any]:
        """Exit codes of the process that was stopped, and how often it had lost its lock with work left to do."""
        ends: Counter[str] = Counter()
        robbed = 0
        for number in range(count):
            children = []
            try:
                robbed += self._round(number, children)
            finally:
                for child in children:
                    child.kill()
            ends[str(children[0].code)] += 1
        return {"rounds": count, "exits": dict(ends), "lost_the_lock": robbed, "points": self.points}

    def _round(self, number: int, children: list[_Child]) -> bool:
        self._fresh()
        first, second = HOSTS if number % 2 == 0 else reversed(HOSTS)
        case, beside = f"{self.stage}, round {number}", number // 2 % 2 == 0
        at = self.source.randrange(self.points) if self.source.random() < 0.8 else None
        loser = _Child(self._command(first, at), self.place.with_name(first))
        children.append(loser)
        loser.wait_for_stop(None if at is not None else self.source.uniform(0, self.seconds))
        had_work = lock_path(self.out).exists() and content_of(self.out) is None
        steps, open_before = steps_saved(self.out), {path.stat().st_ino for path in self._files().values()}
        self._silence()
        winner = _Child(
            self._command(second, self.source.randrange(LOCKING_POINTS, self.points) if beside else None),
            self.place.with_name(second),
        )
        children.append(winner)
        winner.wait_for_stop()
        robbed = had_work and (winner.code is not None or self._is_taken_over())
        before = self._contents(open_before)
        loser.finish()
        after = self._contents(open_before)
        if robbed and after != before:
            changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
            self.failures.append(f"{case}: the one that lost the lock changed {sorted(changed)}")
        if loser.code not in ((BUSY,) if robbed else (0, BUSY)):
            self.failures.append(f"{case}: the one that lost the lock ended with {loser.code}: {loser.text[-300:]}")
        winner.finish()
        self._judge(case, winner, steps)
        return robbed

    def _judge(self, case: str, winner: _Child, steps: int) -> None:
        """Look at what the second process made of the `steps` that the first one had saved."""
        try:
            is_right = content_of(self.out) == self.expected
        except GolfpipeError as error:
            self.failures.append(f"{case}: a damaged artifact: {error.message}")
            return
        if winner.code or not is_right:
            self.failures.append(f"{case}: the one that took over: {winner.code}, {winner.text[-300:]}")
            return
        if leftovers(self.out) or any(path.name.startswith(".") for path in self.out.rglob("*")):
            self.failures.append(f"{case}: left behind {leftovers(self.out)}")
        if self.stage == "train":
            records = [json.loads(line) for line in (self.out / "log.jsonl").read_text().splitlines()]
            logged = [record["step"] for record in records if record["type"] == "step"]
            resumed = [record["step"] for record in records if record["type"] == "resume"]
            if logged != list(range(1, STEPS + 1)) or (resumed and resumed[-1] < steps):
                self.failures.append(f"{case}: resumed at {resumed} after {steps} saved steps, log of {logged}")

    # ---- processes ----------------------------------------------------------------------------------------------

    def _counting(self, points: Path) -> int:
        with faulty_disk(self.place, lambda point: False) as disk:
            code = main(self.words)
        points.write_text(str(len(disk.points)))
        return code

    def _command(self, host: str, at: int | None) -> Callable[[], int]:
        """Return the command as it runs on this host. It stops itself once, where `at` is given: before that change of
        the disk or, where that is a write, in half of the cases in its middle."""
        in_half = self.source.random() < 0.5

        def act(point: Point) -> bool:
            if point.number == at and not stopped:
                if in_half and point.call == "write" and not halves:
                    halves.append(point)
                    return True
                stopped.append(point)
                os.kill(os.getpid(), signal.SIGSTOP)
            return False

        halves: list[Point] = []
        stopped: list[Point] = []

        def work() -> int:
            with faulty_disk(self.place, act), mock.patch.object(socket, "gethostname", lambda: host):
                return main(self.words)

        return work

    def _silence(self) -> None:
        """Give the lock the age at which another host takes it over."""
        long_ago = time.time() - STALE_SECONDS - 5
        if lock_path(self.out).exists():
            os.utime(lock_path(self.out), (long_ago, long_ago))

    def _is_taken_over(self) -> bool:
        """Return True if the owner of the lock has given the unfinished folder its own name, or begun one."""
        path = lock_path(self.out)
        return path.exists() and json.loads(path.read_text())["token"] in partial_folder(self.out).name

    # ---- places -------------------------------------------------------------------------------------------------

    def _fresh(self) -> None:
        shutil.rmtree(self.place, ignore_errors=True)
        self.place.mkdir()

    def _files(self) -> dict[str, Path]:
        """Every file below the place by name; each process may remove its own drafts of locks."""
        files = [path for path in sorted(self.place.rglob("*")) if path.is_file() and ".lock." not in path.name]
        return {str(path.relative_to(self.place)): path for path in files}

    def _contents(self, open_before: set[int]) -> dict[str, bytes | None]:
        """The content of every file but those that the first process may have open: the second one writes them anew
        before it uses them."""
        return {
            name: path.read_bytes() if path.stat().st_ino not in open_before else None
            for name, path in self._files().items()
        }


class _Child:
    """A forked process that is stopped and goes on."""

    def __init__(self, work: Callable[[], int], log: Path) -> None:
        self.number, self.log = start(work, log), log
        self.code: int | None = None

    @property
    def text(self) -> str:
        return self.log.read_text(errors="replace")

    def wait_for_stop(self, after: float | None = None) -> None:
        """Wait until the process has stopped itself or ended. `after`: stop it after so many seconds."""
        if after is not None:
            time.sleep(after)
            os.kill(self.number, signal.SIGSTOP)
        self._note(os.waitpid(self.number, os.WUNTRACED)[1])

    def finish(self) -> None:
        """Let the process go on, to its end."""
        if self.code is None:
            os.kill(self.number, signal.SIGCONT)
            self._note(os.waitpid(self.number, 0)[1])

    def kill(self) -> None:
        if self.code is None:
            os.kill(self.number, signal.SIGKILL)
            self.finish()

    def _note(self, status: int) -> None:
        if not os.WIFSTOPPED(status):
            self.code = os.waitstatus_to_exitcode(status)
