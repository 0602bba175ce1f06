"""Read a records folder back, whoever wrote it: its facts, from submission.json, the logs and the script's size.

Folders of the challenge hold several spellings of every key, placeholders, logs of one seed only, scripts that extract
themselves. What can be read is read; what is missing or wrong becomes a problem in the result, never an exception.
"""

from __future__ import annotations

import os
import re
import statistics
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from golfpipe.errors import ArtifactError
from golfpipe.store.canonical import parse_json
from golfpipe.store.metric_values import count, mapping, number
from golfpipe.submission.facts import Facts, RunFacts
from golfpipe.submission.folder_fields import Fields, normal_track, printable, seed_entries, shown
from golfpipe.submission.records_folder import README_FILE, SCRIPT_FILE, SUBMISSION_FILE
from golfpipe.submission.rules import CHALLENGE_TARGETS
from golfpipe.submission.script_kind import Script, look_at_script
from golfpipe.submission.train_log import LoggedNumbers, agree, differences, read_log
from golfpipe.units import format_bytes

MAX_FILE_BYTES = 16_000_000
"""The most bytes that are read of a file, far above those of any log."""
MAX_LOGS = 64
MAX_ENTRIES = 10_000
"""The most entries below the folder that are looked at."""
USUAL_SEEDS = 3
_LOG_NAME = re.compile(r"(\.log$)|(^(train|log|seed|run|output|stdout).*\.txt$)", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class FolderRead:
    """What a records folder says."""

    facts: Facts
    notes: tuple[str, ...]
    """What is unusual but not wrong: spellings, missing logs, a packed script."""
    scores: tuple[float, ...]
    """The val_bpb of each seed, or the one that the record states."""


def is_records_folder(path: Path) -> bool:
    return (path / SUBMISSION_FILE).is_file()


def read_records(folder: Path) -> Facts:
    """Return the facts that the folder itself states. Nothing in it can show how the score was made."""
    return read_folder(folder).facts


def record_scores(folder: Path) -> list[float]:
    """Return the val_bpb of a record's seeds, or the one that it states; empty where there is none."""
    return list(read_folder(folder).scores)


def read_folder(folder: Path) -> FolderRead:
    """Read the whole folder. Raises ArtifactError only where the folder itself cannot be opened."""
    record, problems = _record(folder)
    fields = Fields(record)
    notes: list[str] = []
    if not problems:
        problems += fields.problems()
    problems += _missing_files(folder)
    script = look_at_script(folder / SCRIPT_FILE)
    if script is not None and script.packing is not None:
        notes.append(
            f"{SCRIPT_FILE} extracts itself ({script.packing}): its {format_bytes(script.bytes)} count,"
            " unpacked or run it is not"
        )
    entries = seed_entries(record)
    logs = _logs(folder)
    if not logs:
        notes.append("no log: nothing but submission.json says how the run went")
    by_seed, unassigned = _assign(logs, entries)
    parts = _differences(record, fields, entries, by_seed, unassigned, script)
    runs = tuple(_run(fields, seed, entry, by_seed.get(seed), script) for seed, entry in entries.items())
    if not runs:
        only = next(iter(unassigned.values())) if len(unassigned) == 1 else None
        runs = (_run(fields, None, {}, only, script),)
    if len(runs) < USUAL_SEEDS:
        notes.append(f"{len(runs)} seed{'s' * (len(runs) != 1)}; {USUAL_SEEDS} are usual")
    listed = record.get("seeds")
    plain_list = isinstance(listed, list) and all(isinstance(seed, int | str) for seed in listed)
    if entries and plain_list and {str(seed)[:20] for seed in record["seeds"]} != set(entries):
        problems.append(f"seeds lists {len(record['seeds'])} seeds, not those of the results per seed")
    track = normal_track(fields.text("track")) or _track_of(folder)
    stated = [score for entry in entries.values() if (score := Fields(entry).number("val_bpb")) is not None]
    overall = fields.number("val_bpb")
    return FolderRead(
        facts=Facts(
            runs=runs,
            track=track,
            has_folder=True,
            script_bytes=script.bytes if script is not None else None,
            configuration_differences=None,
            log_differences=parts,
            folder_problems=tuple(problems),
        ),
        notes=tuple(notes + fields.notes),
        scores=tuple(score for score in stated or ([overall] if overall is not None else []) if score > 0),
    )


def log_differences(folder: Path, record: dict[str, Any]) -> tuple[str, ...] | None:
    """List where submission.json and the seeds' logs differ; None where a seed has no log."""
    entries = seed_entries(record)
    by_seed, unassigned = _assign(_logs(folder), entries)
    return _differences(record, Fields(record), entries, by_seed, unassigned, look_at_script(folder / SCRIPT_FILE))


def compare_logs(record: dict[str, Any], logs: dict[str, str]) -> tuple[str, ...] | None:
    """List where a record and logs given by seed differ; None where a seed has no log."""
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


def _record(folder: Path) -> tuple[dict[str, Any], list[str]]:
    """Return the content of submission.json, and what is wrong with it as a file."""
    path = folder / SUBMISSION_FILE
    if path.is_symlink():
        return {}, [f"{SUBMISSION_FILE} is a link, which is not followed"]
    try:
        record = parse_json(_read(path), SUBMISSION_FILE)
    except OSError as error:
        return {}, [f"{SUBMISSION_FILE} cannot be read: {error.strerror or error}"]
    except ArtifactError as error:
        return {}, [error.message[:200]]
    if not isinstance(record, dict):
        return {}, [f"{SUBMISSION_FILE} is {shown(record)}, expected a JSON object"]
    return record, []


def _missing_files(folder: Path) -> list[str]:
    names = {path.name.lower() for path in _files(folder)}
    return [f"no {name}" for name in (README_FILE,) if name.lower() not in names]


def _files(folder: Path) -> Iterator[Path]:
    """Yield the plain, visible files of the folder and of one level below, in the order of their names."""
    looked_at = 0
    for root in (folder, *_subfolders(folder)):
        try:
            with os.scandir(root) as entries:
                found = sorted((entry.name, entry.is_file(follow_symlinks=False)) for entry in entries)
        except OSError:
            continue
        for name, is_file in found:
            looked_at += 1
            if looked_at > MAX_ENTRIES:
                return
            if is_file and not name.startswith("."):
                yield root / name


def _subfolders(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            found = [e.name for e in entries if e.is_dir(follow_symlinks=False) and not e.name.startswith(".")]
    except OSError:
        return []
    return [folder / name for name in sorted(found)[:MAX_LOGS]]


def _logs(folder: Path) -> dict[str, LoggedNumbers]:
    """Return the numbers in every file that looks like a log and holds such numbers, by file name."""
    found: dict[str, LoggedNumbers] = {}
    for path in _files(folder):
        if _LOG_NAME.search(path.name) is None or len(found) >= MAX_LOGS:
            continue
        try:
            logged = read_log(_read(path).decode("utf-8", "replace"))
        except (OSError, ArtifactError):
            continue
        if logged.val_bpb is not None or logged.total_bytes is not None or logged.seed is not None:
            found[path.relative_to(folder).as_posix()] = logged
    return found


def _assign(
    logs: Mapping[str, LoggedNumbers], entries: Mapping[str, Any]
) -> tuple[dict[str, LoggedNumbers], dict[str, LoggedNumbers]]:
    """Return the logs by seed, as file names or else the logs tell it, and the logs of no seed in the record."""
    by_seed: dict[str, LoggedNumbers] = {}
    rest: dict[str, LoggedNumbers] = {}
    for name, logged in logs.items():
        named = re.search(r"(?:seed|_s)[_-]?(\d{1,18})", name)
        seed = named[1] if named is not None and named[1] in entries else str(logged.seed)
        if seed in entries and seed not in by_seed:
            by_seed[seed] = logged
        else:
            rest[name] = logged
    if len(entries) == 1 and not by_seed and len(rest) == 1:
        by_seed[next(iter(entries))] = rest.popitem()[1]
    return by_seed, rest


def _differences(
    record: Mapping[str, Any],
    fields: Fields,
    entries: Mapping[str, Mapping[str, Any]],
    by_seed: Mapping[str, LoggedNumbers],
    unassigned: Mapping[str, LoggedNumbers],
    script: Script | None,
) -> tuple[str, ...] | None:
    """List where submission.json, logs and script size differ; None where a log to compare with is missing."""
    found: list[str] = []
    for seed, entry in entries.items():
        if seed in by_seed:
            values = Fields(entry)
            found += differences(
                by_seed[seed],
                seed=int(seed),
                val_loss=values.number("val_loss"),
                val_bpb=values.number("val_bpb"),
                total_bytes=values.count("bytes_total"),
            )
    if not entries and len(unassigned) == 1:
        logged = next(iter(unassigned.values()))
        for name, said, places in (
            ("val_loss", logged.val_loss, logged.val_loss_decimals),
            ("val_bpb", logged.val_bpb, logged.val_bpb_decimals),
        ):
            value = fields.number(name)
            if said is not None and value is not None and not agree(said, places, value):
                found.append(f"{name} {value:.8f}, the log says {said:.8f}")
        total = fields.count("bytes_total")
        if logged.total_bytes is not None and total is not None and total != logged.total_bytes:
            found.append(f"{total} bytes, the log says {logged.total_bytes}")
    found += _mean_differences(fields, entries)
    code = fields.count("bytes_code")
    if script is not None and code is not None and code != script.bytes:
        found.append(f"bytes_code {code}, {SCRIPT_FILE} has {script.bytes}")
    if found:
        return tuple(found)
    complete = set(entries) <= set(by_seed) if entries else len(unassigned) == 1
    return () if complete else None


def _mean_differences(fields: Fields, entries: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """List where the record's score is not its seeds' mean, or its size not the largest."""
    found = []
    for name in ("val_loss", "val_bpb"):
        scores = [score for entry in entries.values() if (score := Fields(entry).number(name)) is not None]
        value = fields.number(name)
        if scores and len(scores) == len(entries) and value is not None:
            mean = statistics.fmean(scores)
            if not agree(mean, 5, value):
                found.append(f"{name} {value:.8f}, the mean of the seeds is {mean:.8f}")
    sizes = [size for entry in entries.values() if (size := Fields(entry).count("bytes_total")) is not None]
    total = fields.count("bytes_total")
    if sizes and total is not None and total < max(sizes):
        found.append(f"bytes_total {total}, the largest seed has {max(sizes)}")
    return found


def _run(
    fields: Fields, seed: str | None, entry: Mapping[str, Any], logged: LoggedNumbers | None, script: Script | None
) -> RunFacts:
    own = Fields(entry)
    total = (
        own.count("bytes_total") or (logged.total_bytes if logged is not None else None) or fields.count("bytes_total")
    )
    stated_code = own.count("bytes_code") or fields.count("bytes_code")
    if stated_code is None and logged is not None:
        stated_code = logged.code_bytes
    code = script.bytes if script is not None else stated_code
    model = own.count("bytes_model") or fields.count("bytes_model")
    if model is None and total is not None and stated_code is not None and total >= stated_code:
        model = total - stated_code
    if model is None and total is not None and code is not None and total >= code:
        model = total - code
    targets = logged.val_tokens if logged is not None else None
    return RunFacts(
        seed=int(seed) if seed is not None else None,
        packed_bytes=model,
        code_bytes=code,
        code_measured=script is not None,
        train_seconds=_first(
            own.number("train_time_s"),
            logged.train_seconds if logged is not None else None,
            fields.number("train_time_s"),
        ),
        evaluated=True,
        eval_seconds=_first(
            own.number("eval_time_s"), logged.eval_seconds if logged is not None else None, fields.number("eval_time_s")
        ),
        device=printable(fields.text("hardware")),
        scored_targets=targets,
        split_targets=targets,
        whole_split=True if targets == CHALLENGE_TARGETS else None,
    )


def _first(*values: float | None) -> float | None:
    return next((value for value in values if value is not None), None)


def _track_of(folder: Path) -> str | None:
    """Return the track from the folder above, as the challenge's repository has it."""
    return next(
        (normal_track(part) for part in reversed(folder.resolve().parts[:-1]) if part.startswith("track_")), None
    )


def _read(path: Path) -> bytes:
    size = path.stat().st_size
    if size > MAX_FILE_BYTES:
        raise ArtifactError(f"{path.name}: {size} bytes, at most {MAX_FILE_BYTES} are read", path=str(path))
    with path.open("rb") as stream:
        return stream.read(MAX_FILE_BYTES)
