"""kill -9 in the middle of a stage, then the same command again: the artifact of the uninterrupted run, nothing half.

For every stage: once before each change of the disk, once in the middle of each write, twice before each change with
the power gone too (all that was not synced is lost, and a random part of it), and at random moments until `count` are
reached. Then, through the command line itself, a twentieth of `count` at random moments. Where `count` is below the
changes, a sample. Half of the cases replace an older artifact; the others begin where even the parent folders are
missing. After a power cut the checkpoint is the last one that was synced, or a later one.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import astuple
from pathlib import Path
from typing import Any

from golfpipe.cli.app import main
from golfpipe.errors import GolfpipeError
from reliability.faults import Disk, Point, faulty_disk
from reliability.specimens import STAGES
from reliability.stage_commands import (
    BEFORE,
    COMMANDS,
    Ended,
    content_of,
    is_complete,
    leftovers,
    ready_script,
    run_child,
    run_words,
    steps_saved,
    words_of,
    workplace,
)

ROOT = Path(__file__).parents[1]
STEPS = STAGES["presets"]["small"]["train"]["max_steps"]


def run(count: int, seed: int, stages: tuple[str, ...] = tuple(COMMANDS), command_line: bool = True) -> dict[str, Any]:
    """`count` kills per stage at least."""
    found: dict[str, Any] = {"stages": {}, "failures": []}
    with workplace() as folder, ready_script():
        for stage in stages:
            tried = _Stage(stage, folder, random.Random(f"{seed} {stage}"), found["failures"])
            found["stages"][stage] = tried.kills(count, count // 20 if command_line else 0)
    found["kills"] = sum(sum(stage["kills"].values()) for stage in found["stages"].values())
    return found


class _Stage:
    """The kills of one stage, in a place of its own."""

    def __init__(self, stage: str, folder: Path, source: random.Random, failures: list[str]) -> None:
        self.stage, self.source, self.failures = stage, source, failures
        self.place, self.log, self.promise = folder / "killed", folder / "log", folder / "promise"
        self.out = self.place / "runs" / "a" / "out"
        # Where the command replaces another artifact of hours, it says that it may.
        self.words = words_of(stage, self.out, *(["--force"] if stage == "train" else []))
        self._fresh()
        self.old = self._make(words_of(stage, self.out, *BEFORE[stage])) if stage in BEFORE else None
        self.place.rename(folder / "old")
        self._fresh()
        ended = run_child(self._counted, self.log)
        self.points = [Point(*fields) for fields in json.loads((self.place / "points").read_text())]
        self.new, self.seconds = content_of(self.out), ended.seconds
        if ended.code or self.new is None or self.new == self.old:
            raise RuntimeError(f"{stage}: {ended.text}")
        self.results = [self.new]

    def kills(self, count: int, by_command_line: int) -> dict[str, Any]:
        """How many of each manner, and how many of them the process outlived."""
        kinds: dict[str, int] = {}
        outlived = 0
        if by_command_line:
            self._fresh()
            self.command_seconds = self._by_command_line(60.0).seconds
            self.results.append(content_of(self.out))  # that of `submit` has the real script
        for number, (kind, work, delay) in enumerate(self._cases(count, by_command_line)):
            kinds[kind] = kinds.get(kind, 0) + 1
            self._fresh(with_old=self.old is not None and number % 2 == 0)
            old = content_of(self.out)
            ended = work(delay)
            outlived += ended.code == 0
            self._judge(f"{self.stage}, {kind}, case {number}", ended, old)
            self.promise.unlink(missing_ok=True)
        shutil.rmtree(self.place.parent / "old", ignore_errors=True)
        return {"kills": kinds, "points": len(self.points), "outlived": outlived}

    def _cases(self, count: int, by_command_line: int) -> Iterator[tuple[str, Callable[[float], Ended], float]]:
        aimed = [("before a change", point.number, None) for point in self.points]
        aimed += [("in a write", point.number, None) for point in self.points if point.call == "write"]
        aimed += [("power cut", point.number, 0.0) for point in self.points]
        aimed += [("power cut, part kept", point.number, self.source.random()) for point in self.points]
        if count < len(self.points):
            aimed = self.source.sample(aimed, count)
        for kind, number, kept in aimed:
            halves = kind == "in a write"
            yield (
                kind,
                lambda _, at=number, half=halves, kept=kept: run_child(lambda: self._dying(at, half, kept), self.log),
                0.0,
            )
        for _ in range(max(count // 5, count - len(aimed))):
            yield "random moment", self._killed, self.source.uniform(0, 1.1 * self.seconds)
        for _ in range(by_command_line):
            yield "command line", self._by_command_line, self.source.uniform(0, self.command_seconds)

    def _judge(self, case: str, ended: Ended, old: tuple[str, ...] | None) -> None:
        try:
            state = content_of(self.out)
        except GolfpipeError as error:
            self.failures.append(f"{case}: a half file under a final name: {error.message}")
            return
        if ended.code not in (0, -signal.SIGKILL):
            self.failures.append(f"{case}: ended with {ended.code}: {ended.text[-300:]}")
        if state not in (old, *self.results):
            self.failures.append(f"{case}: neither the old artifact nor the new one")
        if self.promise.exists() and state != self.new:
            steps, finished = json.loads(self.promise.read_text())
            if finished or (steps_saved(self.out) < steps and not is_complete(self.out)):
                self.failures.append(f"{case}: lost what was synced: {steps} steps, finished: {finished}")
        again = run_words(self.words, self.log)
        if again.code or content_of(self.out) != self.new:
            self.failures.append(f"{case}: the same command again: {again.code}, {again.text[-300:]}")
        stray = [name for name in leftovers(self.out) if ".lock." not in name]
        if stray or any(path.name.startswith(".") for path in self.out.rglob("*")):
            self.failures.append(f"{case}: left behind {stray}")

    # ---- children ---------------------------------------------------------------------------------------------

    def _counted(self) -> int:
        with faulty_disk(self.place, lambda point: False) as disk:
            code = main(self.words)
        (self.place / "points").write_text(json.dumps([astuple(point) for point in disk.points]))
        return code

    def _dying(self, number: int, in_half: bool, kept: float | None) -> int:
        """Die at this point. `kept`: with the power cut, and this share of what was not synced on the disk."""

        def act(point: Point) -> bool:
            if point.number == number:
                if in_half and not halves:
                    halves.append(point)
                    return True
                if kept is not None:
                    self.promise.write_text(json.dumps(_promised(disk[0].points)))
                    disk[0].cut_power(kept)
                os.kill(os.getpid(), signal.SIGKILL)
            return False

        halves: list[Point] = []
        disk: list[Disk] = []
        with faulty_disk(self.place, act) as patched:
            disk.append(patched)
            return main(self.words)

    def _killed(self, delay: float) -> Ended:
        return run_child(lambda: main(self.words), self.log, kill_after=delay)

    def _by_command_line(self, delay: float) -> Ended:
        words = self.words if self.stage != "submit" else [*self.words, "--set", "submit.layout=readable"]
        started = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", "golfpipe", *words],
            env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            process.wait(delay)
        except subprocess.TimeoutExpired:
            process.kill()
        text = process.communicate()[1]
        return Ended(process.returncode, text, time.perf_counter() - started)

    # ---- places -----------------------------------------------------------------------------------------------

    def _fresh(self, with_old: bool = False) -> None:
        shutil.rmtree(self.place, ignore_errors=True)
        if with_old:
            shutil.copytree(self.place.parent / "old", self.place)
        else:
            self.place.mkdir()

    def _make(self, words: list[str]) -> tuple[str, ...] | None:
        ended = run_words(words, self.log)
        if ended.code:
            raise RuntimeError(f"{' '.join(words)}: {ended.text}")
        return content_of(self.out)


def _promised(points: list[Point]) -> tuple[int, bool]:
    """Return how many steps of training are in checkpoints that were synced before the last of the points, and whether
    the artifact was synced in its place."""
    last_sync = max((point.number for point in points[:-1] if point.call == "fsync"), default=0)
    renamed = [point.path for point in points[:last_sync] if point.call == "replace"]
    steps = sum("checkpoint.safetensors" in path for path in renamed)
    return min(steps, STEPS), any(path.endswith(".partial") for path in renamed)
