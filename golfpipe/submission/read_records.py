"""A records folder read back, whoever wrote it: its facts, from submission.json and the logs alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from golfpipe.errors import ArtifactError
from golfpipe.store.canonical import parse_json
from golfpipe.submission.facts import Facts, RunFacts
from golfpipe.submission.metric_values import count, mapping, number, text
from golfpipe.submission.records_folder import SCRIPT_FILE, SUBMISSION_FILE, log_name
from golfpipe.submission.train_log import differences, read_log

MAX_FILE_BYTES = 64_000_000
"""Far above any log; a larger file is something else."""


def is_records_folder(path: Path) -> bool:
    return (path / SUBMISSION_FILE).is_file()


def read_records(folder: Path) -> Facts:
    """Facts that the folder itself states. Nothing in it can show how the score was made.

    Raises ArtifactError for a submission.json that is no object, naming the field where it matters.
    """
    path = folder / SUBMISSION_FILE
    record = parse_json(_read(path), str(path))
    if not isinstance(record, dict):
        raise ArtifactError(f"{path}: not a JSON object", path=str(path))
    script = folder / SCRIPT_FILE
    entries = mapping(record, "seed_results")
    return Facts(
        runs=tuple(_run(record, seed, entry) for seed, entry in entries.items() if isinstance(entry, dict))
        or (_run(record, None, {}),),
        track=text(record, "track"),
        has_folder=True,
        script_bytes=script.stat().st_size if script.is_file() else None,
        configuration_differences=None,
        log_differences=log_differences(folder, record),
    )


def log_differences(folder: Path, record: dict[str, Any]) -> tuple[str, ...] | None:
    """Where submission.json and the seeds' logs part; None where a seed has no log."""
    logs = {}
    for seed in mapping(record, "seed_results"):
        path = folder / log_name(int(seed)) if seed.isdecimal() else None
        if path is not None and path.is_file():
            logs[seed] = _read(path).decode("utf-8", "replace")
    return compare_logs(record, logs)


def compare_logs(record: dict[str, Any], logs: dict[str, str]) -> tuple[str, ...] | None:
    """The same for logs in memory, by seed."""
    entries = mapping(record, "seed_results")
    if not entries or set(entries) - set(logs):
        return None
    found: list[str] = []
    for seed, entry in entries.items():
        found += differences(
            read_log(logs[seed]),
            seed=int(seed),
            val_loss=number(entry, "val_loss"),
            val_bpb=number(entry, "val_bpb"),
            total_bytes=count(entry, "artifact_bytes"),
        )
    return tuple(found)


def _run(record: dict[str, Any], seed: str | None, entry: dict[str, Any]) -> RunFacts:
    total = count(entry, "artifact_bytes") or count(record, "bytes_total")
    code = count(record, "bytes_code")
    return RunFacts(
        seed=int(seed) if seed is not None and seed.isdecimal() else None,
        packed_bytes=total - code if total is not None and code is not None and total >= code else None,
        code_bytes=code,
        train_seconds=number(entry, "train_time_s"),
        evaluated=True,
        eval_seconds=number(entry, "eval_time_s"),
        device=text(record, "hardware"),
    )


def _read(path: Path) -> bytes:
    size = path.stat().st_size
    if size > MAX_FILE_BYTES:
        raise ArtifactError(f"{path}: {size} bytes, at most {MAX_FILE_BYTES} are read", path=str(path))
    return path.read_bytes()
