"""How far a training has come, from the log that it writes."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from golfpipe.errors import ArtifactError
from golfpipe.jobs.unfinished import JOB_FILE, read_begun
from golfpipe.loading.replay_log import LOG
from golfpipe.pipeline.seeds import seed_folders
from golfpipe.store.files import named_path, partial_folder
from golfpipe.store.lock import lock_holder
from golfpipe.store.metric_values import count, mapping, number

_TAIL_BYTES = 10_000
"""The bytes at the end of a log that are read: some sixty steps."""


@dataclass(frozen=True, kw_only=True)
class TrainingProgress:
    """How far a running training has come. None stands for what is not known yet."""

    step: int | None
    max_steps: int | None
    train_loss_nats: float | None
    steps_per_second: float | None
    seconds_left: float | None
    """At most: less where train.max_seconds ends training before."""


def running_training(path: Path) -> Path | None:
    """Return the folder that a training now fills: `path` itself, or a step of the run `path`, or of one of its seeds.
    None without one."""
    out = named_path(path)
    partial = [folder for run in (out, *seed_folders(out).values()) for folder in sorted(run.glob(".*.partial"))]
    steps = [out, *(folder.with_name(folder.name[1 : -len(".partial")]) for folder in partial)]
    return next((step for step in steps if _is_training(step) and lock_holder(step) is not None), None)


def watch_training(
    out: Path, seconds: float, sleep: Callable[[float], None] = time.sleep
) -> Iterator[TrainingProgress]:
    """Yield the progress of a running training every so many seconds, until nobody writes `out` any more."""
    while lock_holder(out) is not None:
        yield training_progress(out)
        sleep(seconds)


def training_progress(out: Path) -> TrainingProgress:
    """Return how far the training of `out` has come, by its log and the settings that it began with."""
    try:
        begun = read_begun(out)
    except ArtifactError:
        begun = None
    settings = mapping(begun.config, "train") if begun is not None else {}
    steps = [line for line in last_lines(partial_folder(out) / LOG) if line.get("type") == "step"]
    if not steps:
        return TrainingProgress(
            step=None,
            max_steps=count(settings, "max_steps"),
            train_loss_nats=None,
            steps_per_second=None,
            seconds_left=None,
        )
    done, most = count(steps[-1], "step"), count(settings, "max_steps")
    rate = _rate(steps)
    left = [(most - done) / rate] if done is not None and most is not None and rate is not None else []
    elapsed, limit = number(steps[-1], "elapsed_seconds"), number(settings, "max_seconds")
    if elapsed is not None and limit:
        left.append(limit - elapsed)
    return TrainingProgress(
        step=done,
        max_steps=most,
        train_loss_nats=number(steps[-1], "train_loss_nats"),
        steps_per_second=rate,
        seconds_left=max(0.0, min(left)) if left else None,
    )


def _rate(steps: list[dict[str, Any]]) -> float | None:
    """Return the steps per second between the first and the last line."""
    first, last = ((number(line, "step"), number(line, "elapsed_seconds")) for line in (steps[0], steps[-1]))
    if None in (*first, *last) or last[1] == first[1]:
        return None
    return (last[0] - first[0]) / (last[1] - first[1])  # type: ignore[operator]  # checked above


def _is_training(out: Path) -> bool:
    return (partial_folder(out) / LOG).is_file() or (partial_folder(out) / JOB_FILE).is_file()


def last_step(log: Path) -> int | None:
    """Return the last step in the log; None where there is none."""
    for line in reversed(last_lines(log)):
        if isinstance(line.get("step"), int):
            return int(line["step"])
    return None


def last_lines(log: Path) -> list[dict[str, Any]]:
    """Return the lines at the end of the log that are whole; none where there is no log."""
    try:
        with log.open("rb") as stream:
            stream.seek(max(0, log.stat().st_size - _TAIL_BYTES))
            tail = stream.read().splitlines()
    except OSError:
        return []
    found = []
    for raw in tail:
        try:
            line = json.loads(raw)
        except ValueError:  # cut at its beginning, or still being written
            continue
        if isinstance(line, dict):
            found.append(line)
    return found
