"""The files of a records folder, found and read: its JSON, its logs, its script, its packed model.

Folders of the challenge have other names for everything, logs in subfolders, tokenizers beside them. What can be read
is read; links are not followed, and nothing is executed.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from golfpipe.records.counting import Code, Counting, count_record
from golfpipe.records.evidence import Counted, Log, Record, Statement, printable
from golfpipe.records.log_lines import MOST_BYTES, read_log
from golfpipe.records.record_json import parse_record
from golfpipe.records.script import Script, look_at_scripts
from golfpipe.store.manifest import MANIFEST_NAME
from golfpipe.submission.records_folder import README_FILE, SCRIPT_FILE, SUBMISSION_FILE

MAX_LOGS = 128
MAX_ENTRIES = 10_000
"""Files looked at."""
_DEPTH = 3
_MOST_JSON = 16_000_000
_LOG_NAME = re.compile(r"\.(log|out|txt|stdout|stderr|err)$|^(log|stdout|nohup)[^.]*$", re.IGNORECASE)
_NO_LOG = re.compile(r"^(requirements|readme|license|notice|vocab|pr_body)", re.IGNORECASE)
_SET_ASIDE = re.compile(r"ablat|supersed|smoke|dry.?run|debug|fail|baseline|(^|[_/-])old", re.IGNORECASE)
_NAMED_SEED = re.compile(r"(?:seed|(?:^|[_\-./])s)[_\-]?(\d{1,18})(?!\d)", re.IGNORECASE)
_LAST_NUMBER = re.compile(r"(\d{1,18})\.\w+$")
_PACKED_MODEL = re.compile(r"\.ptz$|^packed\.safetensors$|^final_model.*\.(br|xz|zst|lzma|bin)$")


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What a records folder says about itself."""

    path: Path
    record: Record
    counting: Counting
    script: Script | None
    has_readme: bool
    track: str | None
    notes: tuple[str, ...]

    @property
    def has_logs(self) -> bool:
        return any(run.logs for run in self.counting.runs)


def is_records_folder(path: Path) -> bool:
    """Return True for a folder that a record of the challenge could be, and no artifact of golfpipe is."""
    if not path.is_dir() or _is_artifact(path):
        return False
    names = {name.lower() for name in _names(path)}
    if names & {SUBMISSION_FILE, SCRIPT_FILE}:
        return True
    if any(name.endswith(".safetensors") for name in names):
        return False  # an artifact whose manifest is gone
    described = any(name.startswith("readme") or name.endswith(".py") for name in names)
    return _record_file(path) is not None or (described and any(map(_is_log, names)))


def read_folder(path: Path) -> Reading:
    """Read all of it."""
    notes: list[str] = []
    record = _record(path, notes)
    logs, set_aside = _logs(path, notes)
    script = look_at_scripts(path)
    by_seed = assign(logs, record, notes)
    if set_aside:
        notes.append(f"not counted as logs of the submission: {', '.join(set_aside)}")
    code = Code(sizes=script.sizes, stub=script.kind == "stub") if script is not None else Code()
    counting = count_record(record, by_seed, _file_sizes(path, script), code)
    return Reading(
        path=path,
        record=record,
        counting=counting,
        script=script,
        has_readme=any(name.lower().startswith(README_FILE.lower().partition(".")[0]) for name in _names(path)),
        track=normal_track(record.fields.get("track")) or _track_of(path),
        notes=tuple(dict.fromkeys([*notes, *counting.notes])),
    )


def compare(record: Mapping[str, object], logs: Mapping[str, str]) -> tuple[str, ...] | None:
    """Return where a submission.json and the logs (text by file name) differ, before they are written; None where a
    seed has no log."""
    parsed = parse_record(json.dumps(record), SUBMISSION_FILE)
    read = [log for name, text in logs.items() for log in read_log(text.encode(), name)]
    counting = count_record(parsed, assign(read, parsed, []), None, Code())
    return None if counting.unlogged else tuple(counting.differences)


def assign(logs: Sequence[Log], record: Record, notes: list[str]) -> dict[int | None, list[Log]]:
    """Return the logs by seed: as they say themselves, as their names say, as their folders say."""
    found: dict[int | None, list[Log]] = {}
    for log in logs:
        named = _seed_of_name(log.name, record)
        seed = log.seed if log.seed is not None else named
        if named is not None and log.seed is not None and named != log.seed:
            notes.append(f"{log.name} says seed {log.seed} inside")
            if named in record.seeds and log.seed not in record.seeds:
                seed = named
        found.setdefault(seed, []).append(log)
    known = [seed for seed in found if seed is not None] or list(record.seeds)
    if None in found and len(dict.fromkeys([*known, *record.seeds])) == 1:
        found.setdefault(known[0], []).extend(found.pop(None))
    return found


def _seed_of_name(name: str, record: Record) -> int | None:
    path, _, last = name.rpartition("/")
    for part in (last, path):
        named = _NAMED_SEED.findall(part)
        if named:
            return int(named[-1])
    number = _LAST_NUMBER.search(last)
    return int(number[1]) if number is not None and int(number[1]) in record.seeds else None


def _record(path: Path, notes: list[str]) -> Record:
    """submission.json, or another JSON file that tells a score."""
    if (path / SUBMISSION_FILE).is_symlink():
        return Record(name=SUBMISSION_FILE, problems=(f"{SUBMISSION_FILE} is a link, which is not followed",))
    name = SUBMISSION_FILE if (path / SUBMISSION_FILE).is_file() else _record_file(path)
    if name is None:
        return Record()
    if name != SUBMISSION_FILE:
        notes.append(f"there is no {SUBMISSION_FILE}; {printable(name)} is read in its place")
    try:
        if (path / name).stat().st_size > _MOST_JSON:
            return Record(name=name, problems=(f"{name} has more than {_MOST_JSON:,} bytes and is not read",))
        return parse_record((path / name).read_bytes(), printable(name))
    except OSError as error:
        return Record(name=name, problems=(f"{name} cannot be read: {error.strerror or error}",))


def _record_file(path: Path) -> str | None:
    """The name of a JSON file in the folder that holds a score, where submission.json is not there."""
    names = [name for name in _names(path) if name.lower().endswith(".json")]
    for name in sorted(names, key=lambda name: ("submission" not in name.lower(), name)):
        try:
            small = (path / name).stat().st_size < 1_000_000
            if small and parse_record((path / name).read_bytes(), name).statements:
                return name
        except OSError:
            continue
    return None


def _is_artifact(path: Path) -> bool:
    """A manifest of golfpipe, and not one that a tokenizer brought; a broken one beside a record is none."""
    manifest = path / MANIFEST_NAME
    try:
        if manifest.is_symlink() or not manifest.is_file() or manifest.stat().st_size > _MOST_JSON:
            return False
        values = json.loads(manifest.read_bytes())
    except (OSError, ValueError, RecursionError):
        return not (path / SUBMISSION_FILE).exists() and not (path / SCRIPT_FILE).exists()
    return isinstance(values, dict) and "kind" in values and "stage" in values


def _names(path: Path) -> list[str]:
    return [file.name for file in _files(path, depth=0)]


def _files(path: Path, depth: int = _DEPTH) -> Iterator[Path]:
    """Plain files of the folder and below, hidden ones and links left out, in order of their names."""
    waiting, looked_at = [(path, 0)], 0
    while waiting:
        folder, level = waiting.pop(0)
        try:
            with os.scandir(folder) as entries:
                found = sorted(entries, key=lambda entry: entry.name)
        except OSError:
            continue
        for entry in found:
            looked_at += 1
            if looked_at > MAX_ENTRIES:
                return
            if entry.name.startswith("."):
                continue
            try:
                if entry.is_file(follow_symlinks=False):
                    yield folder / entry.name
                elif level < depth and entry.is_dir(follow_symlinks=False):
                    waiting.append((folder / entry.name, level + 1))
            except OSError:
                continue


def _log_files(path: Path) -> Iterator[Path]:
    yield from (file for file in _files(path) if _is_log(file.name))


def _is_log(name: str) -> bool:
    return _LOG_NAME.search(name) is not None and _NO_LOG.search(name) is None


def _logs(path: Path, notes: list[str]) -> tuple[list[Log], list[str]]:
    """Every run that a log states a number of; and the names of those that by their names are of other runs."""
    found: list[Log] = []
    files = list(_log_files(path))
    if len(files) > MAX_LOGS:
        notes.append(f"{len(files)} logs, of which the first {MAX_LOGS} are read")
    for file in files[:MAX_LOGS]:
        name = printable(file.relative_to(path).as_posix(), 120)
        try:
            content, complete = _ends(file)
        except OSError:
            continue
        if not complete:
            notes.append(f"{name} has more than {MOST_BYTES:,} bytes; its beginning and its end are read")
        logs = read_log(content, name, complete=complete)
        found += [log for log in logs if log.of("val_bpb", "total_bytes", "train_seconds", "eval_seconds")]
    aside = [log for log in found if _SET_ASIDE.search(log.name)]
    if len(aside) == len(found):
        return found, []
    return [log for log in found if log not in aside], list(dict.fromkeys(log.name for log in aside))


def _ends(file: Path) -> tuple[bytes, bool]:
    """The content of a file, or of a very large one its first quarter of MOST_BYTES and its last three."""
    size = file.stat().st_size
    with file.open("rb") as stream:
        if size <= MOST_BYTES:
            return stream.read(MOST_BYTES), True
        head = stream.read(MOST_BYTES // 4)
        stream.seek(size - 3 * MOST_BYTES // 4)
        return head + b"\n" + stream.read(3 * MOST_BYTES // 4), False


def _file_sizes(path: Path, script: Script | None) -> Counted | None:
    """The packed model in the folder and the code that runs it."""
    models = [file for file in _files(path, depth=0) if _PACKED_MODEL.search(file.name)]
    if not models or script is None:
        return None
    sizes = [(file.stat().st_size, printable(file.name)) for file in models]
    size, name = max(sizes)
    total = size + script.bytes
    model = Statement(quantity="total_bytes", value=size, source=name, label="size of the file")
    code = Statement(quantity="total_bytes", value=script.bytes, source=script.name, label="size of the file")
    return Counted(value=total, of=(model, code), assumed=True)


def normal_track(text: str | None) -> str | None:
    """'track_10min_16mb', '10min-16MB' -> '10min_16mb'; what names no track stays as it is."""
    if text is None:
        return None
    plain = re.sub(r"[^a-z0-9]+", "_", text.lower()).removeprefix("track_").strip("_")
    if "non_record" in plain or "nonrecord" in plain:
        return "non_record_16mb"
    return "10min_16mb" if plain.startswith("10min") else printable(text)


def _track_of(path: Path) -> str | None:
    """From the folder that it lies in, as the challenge's repository has it."""
    return next((normal_track(part) for part in reversed(path.resolve().parts[:-1]) if part.startswith("track_")), None)
