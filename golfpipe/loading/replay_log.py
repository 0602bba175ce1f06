"""The log of an earlier run, for `train --replay`: what the clock decided there, and a digest of it for the key."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from pathlib import Path
from typing import Any

from golfpipe.errors import DataError, UsageError
from golfpipe.store.artifact import open_artifact, part_of_artifact
from golfpipe.store.canonical import digest_of
from golfpipe.store.manifest import MANIFEST_NAME
from golfpipe.training.replay import HINT, Replay, parse_replay

LOG = "log.jsonl"
MAX_LOG_BYTES = 64_000_000
"""A step takes 150 bytes of the log."""


def replay_arguments(path: Path) -> tuple[dict[str, Any], str]:
    """Return the arguments that the train stage takes for a replay, and their digest."""
    replay, digest = read_replay(path)
    return {"replay": replay, "replay_words": f" --replay {shlex.quote(str(path))}"}, digest


def read_replay(path: Path) -> tuple[Replay, str]:
    """Read the decisions in a log.jsonl, given as a file or as the folder of a trained model. Return them with their
    digest, which covers them alone, not the losses.

    Raises UsageError for a path without a log, DataError for a file that is no log of a finished run, ArtifactError for
    a damaged model.
    """
    if path.is_dir():
        if not (path / MANIFEST_NAME).is_file():
            raise UsageError(
                f"{path}: not a trained model, so there is no {LOG} to replay",
                path=str(path),
                wanted=("trained_model",),
            )
        log = open_artifact(path, "trained_model").file(LOG)
        with part_of_artifact():
            return _read(log)
    return _read(path)


def _read(path: Path) -> tuple[Replay, str]:
    if not path.is_file():
        raise UsageError(
            f"{path}: no such log",
            hint=HINT,
            path=str(path),
            wanted=("trained_model",),
        )
    if path.stat().st_size > MAX_LOG_BYTES:
        raise DataError(
            f"{path}: {path.stat().st_size} bytes, a training log has at most {MAX_LOG_BYTES}", path=str(path)
        )
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not a training log ({error})", hint=HINT, path=str(path)) from error
    replay = parse_replay(lines, str(path))
    decided = asdict(replay)
    for name, nothing in (("loop_first_step", None), ("context_first_steps", ())):
        if decided[name] == nothing:  # as before there was one
            del decided[name]
    return replay, digest_of(decided)
