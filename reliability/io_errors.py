"""The disk answers a change with an error: the artifact is the old one or the new one, and the message says what to do.

For every stage and every change of the disk: EIO once, in the middle of writes; and from there on a full disk (ENOSPC),
an exhausted quota (EDQUOT), a read-only file system (EROFS), and no permission (EACCES). Where a stage has more than
`count` changes, a sample of them for each error.
"""

from __future__ import annotations

import errno
import os
import random
import re
import shutil
from pathlib import Path
from typing import Any

from golfpipe.cli.app import main
from golfpipe.errors import GolfpipeError
from reliability.faults import Point, faulty_disk
from reliability.stage_commands import (
    BEFORE,
    COMMANDS,
    Ended,
    content_of,
    leftovers,
    ready_script,
    run_child,
    run_words,
    words_of,
    workplace,
)

GROWS = ("open", "write", "fsync", "mkdir", "link")
"""What needs space; renaming and removing work on a full disk."""
LASTING = {errno.ENOSPC: GROWS, errno.EDQUOT: GROWS, errno.EROFS: None, errno.EACCES: None}
"""Error -> calls that fail once it is there; None: all."""


def run(count: int, seed: int, stages: tuple[str, ...] = tuple(COMMANDS)) -> dict[str, Any]:
    """At most `count` changes of each stage, with every error."""
    found: dict[str, Any] = {"stages": {}, "failures": []}
    with workplace() as folder, ready_script():
        for stage in stages:
            source = random.Random(f"{seed} {stage}")
            found["stages"][stage] = _Stage(stage, folder, found["failures"]).errors(count, source)
    found["errors"] = sum(sum(stage["errors"].values()) for stage in found["stages"].values())
    return found


class _Stage:
    """The errors of one stage, which replaces an older artifact where it can."""

    def __init__(self, stage: str, folder: Path, failures: list[str]) -> None:
        self.stage, self.failures = stage, failures
        self.place, self.log, self.before = folder / "failing", folder / "log", folder / "before"
        self.out = self.place / "runs" / "a" / "out"
        self.words = words_of(stage, self.out, *(["--force"] if stage == "train" else []))
        shutil.rmtree(self.before, ignore_errors=True)
        shutil.rmtree(self.place, ignore_errors=True)
        self.place.mkdir()
        if stage in BEFORE:
            run_words(words_of(stage, self.out, *BEFORE[stage]), self.log)
        self.old = content_of(self.out)
        shutil.copytree(self.place, self.before)
        points = folder / "points"
        ended = run_child(lambda: self._counting(points), self.log)
        self.points, self.new = int(points.read_text()), content_of(self.out)
        if ended.code or self.new is None or self.new == self.old:
            raise RuntimeError(f"{stage}: {ended.text}")

    def errors(self, count: int, source: random.Random) -> dict[str, Any]:
        """How many of each error, and of them, how many the stage could do without the change."""
        tried: dict[str, int] = {}
        overcome = 0
        for number in (errno.EIO, *LASTING):
            points = range(self.points) if self.points <= count else sorted(source.sample(range(self.points), count))
            for point in points:
                shutil.rmtree(self.place)
                shutil.copytree(self.before, self.place)
                ended = run_child(lambda point=point, number=number: self._failing(point, number), self.log)
                tried[errno.errorcode[number]] = tried.get(errno.errorcode[number], 0) + 1
                overcome += ended.code == 0
                self._judge(f"{self.stage}, {errno.errorcode[number]} at {point}", number, ended)
        return {"errors": tried, "changes": self.points, "overcome": overcome}

    def _judge(self, case: str, number: int, ended: Ended) -> None:
        try:
            state = content_of(self.out)
        except GolfpipeError as error:
            self.failures.append(f"{case}: a half file under a final name: {error.message}")
            return
        if ended.code not in (0, 1) or "Traceback" in ended.text or "bug in golfpipe" in ended.text:
            self.failures.append(f"{case}: ended with {ended.code}: {ended.text[-300:]}")
        if state not in (self.old, self.new) or (ended.code == 0 and state != self.new):
            self.failures.append(f"{case}: neither the old artifact nor the new one, exit {ended.code}")
        if ended.code and not _helps(ended.text, number, self.place):
            self.failures.append(f"{case}: the message does not help: {ended.text[-300:]}")
        if number not in (errno.EIO, errno.ENOSPC):  # the next command meets the same disk as after these
            return
        again = run_words(self.words, self.log)
        if again.code or content_of(self.out) != self.new or any(".lock." not in n for n in leftovers(self.out)):
            self.failures.append(f"{case}: the same command again: {again.code}, {again.text[-300:]}")

    def _counting(self, points: Path) -> int:
        with faulty_disk(self.place, lambda point: False) as disk:
            code = main(self.words)
        points.write_text(str(len(disk.points)))
        return code

    def _failing(self, first: int, number: int) -> int:
        halves: list[Point] = []

        def act(point: Point) -> bool:
            calls = LASTING.get(number)
            due = point.number == first if number == errno.EIO else point.number >= first
            if not due or (number in LASTING and calls is not None and point.call not in calls):
                return False
            if number == errno.EIO and point.call == "write" and not halves:
                halves.append(point)
                return True
            path = str(self.place / point.path) if point.call not in ("write", "fsync") else None
            raise OSError(number, os.strerror(number), path)

        with faulty_disk(self.place, act):
            return main(self.words)


def _helps(text: str, number: int, place: Path) -> bool:
    """Whether the message names a path and the reason; of a full disk, how much is free; and gives a hint."""
    reason = "no space left" if number in (errno.ENOSPC, errno.EDQUOT) else os.strerror(number)
    free = number not in (errno.ENOSPC, errno.EDQUOT) or re.search(r"[\d,]+ B are free", text) is not None
    return str(place) in text and reason in text and free and "hint: " in text
