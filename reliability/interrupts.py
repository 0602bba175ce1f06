"""SIGINT or SIGTERM at random moments of training, then the same command, or --resume: the uninterrupted run's model.

Checkpoints are written only where the run stops, so that every step that is lost shows.
"""

from __future__ import annotations

import json
import random
import shutil
import signal
from collections import Counter
from pathlib import Path
from typing import Any

from golfpipe.cli.app import main
from golfpipe.store.files import partial_folder
from reliability.stage_commands import content_of, is_complete, run_child, run_words, steps_saved, words_of, workplace

LONGER = ("--set", "train.max_steps=30", "--set", "train.checkpoint_every=0", "--set", "train.validate_every=7")
EXITS = {signal.SIGINT: 130, signal.SIGTERM: 143}


def run(count: int, seed: int) -> dict[str, Any]:
    source = random.Random(seed)
    failures: list[str] = []
    ends: Counter[str] = Counter()
    lost: Counter[str] = Counter()
    with workplace() as folder:
        place, log = folder / "interrupted", folder / "log"
        out = place / "out"
        words = words_of("train", out, *LONGER)
        place.mkdir()
        straight = run_words(words, log)
        expected = content_of(out)
        if straight.code or expected is None:
            raise RuntimeError(straight.text)
        for number in range(count):
            shutil.rmtree(place)
            place.mkdir()
            kind = (signal.SIGINT, signal.SIGTERM)[number % 2]
            delay = source.uniform(0, 1.1 * straight.seconds)
            ended = run_child(lambda: main(words), log, kill_after=delay, by=kind)
            case = f"case {number}, {kind.name} after {delay:.3f} s"
            if ended.code not in (0, EXITS[kind]) and any(place.iterdir()):
                failures.append(f"{case}: exit {ended.code}: {ended.text[-300:]}")
            elif ended.code and any(place.iterdir()) and "hint: " not in ended.text:
                failures.append(f"{case}: does not say how to go on: {ended.text[-300:]}")
            ends[str(ended.code) if any(place.iterdir()) else "before the command began"] += 1
            if ended.code:
                steps = _steps_lost(out)
                lost[str(steps)] += 1
                if steps > 1:
                    failures.append(f"{case}: {steps} steps are lost")
            resumable = (partial_folder(out) / "job.json").exists()
            again = (
                ["train", "--resume", "-o", str(out), "--threads", "1", "-q"] if resumable and number % 4 < 2 else words
            )
            resumed = run_words(again, log)
            if resumed.code or content_of(out) != expected:
                failures.append(f"{case}: {' '.join(again)}: {resumed.code}, {resumed.text[-300:]}")
    return {"exits": dict(ends), "steps_lost": dict(lost), "failures": failures}


def _steps_lost(out: Path) -> int:
    """Steps that were logged and are neither in the checkpoint nor in a model that is complete."""
    log = partial_folder(out) / "log.jsonl"
    if not log.exists() or is_complete(out):
        return 0
    records = [json.loads(line) for line in log.read_text().splitlines() if line.endswith("}")]
    done = max((record["step"] for record in records if record["type"] == "step"), default=0)
    return done - steps_saved(out)
