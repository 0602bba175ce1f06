"""What may go from a run folder, and taking it away.

Leftovers of crashes, what interrupted training left where a finished model stands in its place, stale artifacts, and
cells of a sweep that its results no longer name. A trained model or a submission goes only where it is named itself.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from golfpipe.errors import Busy, UsageError
from golfpipe.jobs.unfinished import JOB_FILE
from golfpipe.review.status import run_status
from golfpipe.store.artifact import open_artifact, try_open
from golfpipe.store.files import owner_of, partial_folder
from golfpipe.store.lock import lock_holder, output_lock
from golfpipe.store.manifest import MANIFEST_NAME, Kind
from golfpipe.store.search import find_all
from golfpipe.sweeps.plan import CELLS, SWEEP
from golfpipe.sweeps.results import RESULTS_FILE

KEPT_KINDS: tuple[Kind, ...] = ("trained_model", "token_data", "submission")
"""Stale or not, these go only by name: hours of work, others' input, and what may have been handed in."""
TEMPORARY_SECONDS = 3600.0
"""A temporary file may be younger than this where somebody writes it just now."""


@dataclass(frozen=True, kw_only=True)
class Removable:
    """A file or folder, and why it may go."""

    path: Path
    why: str
    bytes: int


def find_removable(path: Path) -> list[Removable]:
    """Of a run folder: what is left over or stale. Of one artifact, finished or not: it, whatever it is, and its
    leftovers.

    Raises UsageError for a folder that is neither, Busy where the named artifact is being written.
    """
    if not path.is_dir():
        if partial_folder(path).is_dir():
            return list(_leftovers(path.parent, only=path.name))
        raise UsageError(f"{path}: no such folder", hint="give a run folder such as artifacts/demo", path=str(path))
    if (path / MANIFEST_NAME).is_file():
        return _named(path)
    folders = [path, *(path.glob(f"{SWEEP}/{CELLS}"))]
    found = [item for folder in folders for item in _leftovers(folder)]
    if not _is_run(path):
        if found:
            return found
        raise UsageError(f"{path}: holds nothing of golfpipe's", hint="give a run folder such as artifacts/demo")
    return [*found, *_stale(path), *_forgotten_cells(path / SWEEP)]


def remove(items: list[Removable]) -> int:
    """Remove them; returns the bytes that this freed. What is being written meanwhile stays."""
    freed = 0
    for item in items:
        try:
            with output_lock(owner_of(item.path)):
                if item.path.is_dir():
                    shutil.rmtree(item.path)
                else:
                    item.path.unlink(missing_ok=True)
        except Busy:
            continue
        freed += item.bytes
    return freed


def _named(path: Path) -> list[Removable]:
    """One artifact by name, a trained model included."""
    artifact = open_artifact(path)
    if artifact.manifest.location is not None and artifact.path.resolve() == Path(artifact.manifest.location).resolve():
        raise UsageError(f"{path}: the shards in it are yours; golfpipe only added its manifest", path=str(path))
    holder = lock_holder(path)
    if holder is not None:
        raise Busy(f"{path}: {holder} is writing here", path=str(path))
    out = path if path.name not in ("", "..") else path.resolve()
    return [
        *_leftovers(out.parent, only=out.name),
        Removable(path=out, why=f"{artifact.manifest.kind}, named", bytes=_size(out)),
    ]


def _leftovers(folder: Path, only: str | None = None) -> Iterator[Removable]:
    """What crashes and interruptions left beside the artifacts in `folder`."""
    for suffix in ("partial", "old", "lock"):
        for path in sorted(folder.glob(f".*.{suffix}")):
            out = owner_of(path)
            if (only is not None and out.name != only) or lock_holder(out) is not None:
                continue
            why = _why(path, suffix, out, named=only is not None)
            if why is not None:
                yield Removable(path=path, why=why, bytes=_size(path))
    if only is None:
        for path in sorted([*folder.glob(".*.tmp"), *folder.glob(".*.lock.*")]):  # of files, and of locks
            if path.is_file() and time.time() - path.stat().st_mtime > TEMPORARY_SECONDS:
                yield Removable(path=path, why="temporary file of a crash", bytes=_size(path))


def _why(path: Path, suffix: str, out: Path, *, named: bool) -> str | None:
    """None: it stays."""
    if suffix == "lock":
        return "lock of a dead process"
    if suffix == "old":
        # Without the new folder it is the only one, and the next command puts it back.
        return "replaced artifact" if out.exists() else None
    if not (path / JOB_FILE).is_file():
        return "unfinished, cannot be resumed"
    finished = try_open(out)
    if finished is not None and finished.manifest.kind == "trained_model":
        return "checkpoint of a run that a finished model has replaced" if _is_older(path, out) or named else None
    return "checkpoint of an interrupted run, named" if named else None  # hours of training, and --resume goes on


def _is_older(partial: Path, out: Path) -> bool:
    newest = max((entry.stat().st_mtime for entry in partial.iterdir()), default=0.0)
    return newest <= (out / MANIFEST_NAME).stat().st_mtime


def _stale(folder: Path) -> Iterator[Removable]:
    try:
        stale = run_status(folder).stale
    except UsageError:  # only leftovers
        return
    for line in stale:
        artifact = line.artifact
        inside = line.path.resolve().parent == folder.resolve()
        if artifact is None or not inside or artifact.manifest.kind in KEPT_KINDS:
            continue
        yield Removable(path=line.path, why=f"stale: {line.reasons[0]}", bytes=_size(line.path))


def _forgotten_cells(sweep: Path) -> Iterator[Removable]:
    """Artifacts of earlier grids, which nothing else was made from."""
    results = sweep / RESULTS_FILE
    if not results.is_file():
        return
    used = _named_by(results)
    cells = list(find_all(sweep / CELLS, depth=1))
    kept = [artifact for artifact in cells if artifact.path.name in used]
    needed = {ref.digest for artifact in kept for ref in artifact.manifest.inputs}
    for artifact in cells:
        if artifact.path.name not in used and artifact.manifest.digest not in needed:
            yield Removable(path=artifact.path, why="cell of an earlier sweep", bytes=_size(artifact.path))


def _named_by(results: Path) -> set[str]:
    """Folder names that the rows of results.jsonl mention."""
    names = set()
    for line in results.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            artifacts = json.loads(line).get("artifacts", {})
        except (ValueError, AttributeError, RecursionError):
            continue
        if isinstance(artifacts, dict):
            names |= {Path(path).name for path in artifacts.values() if isinstance(path, str)}
    return names


def _is_run(path: Path) -> bool:
    return any(
        try_open(child) is not None if child.name[0] != "." else child.name.endswith(".partial")
        for child in path.iterdir()
        if child.is_dir()
    )


def _size(path: Path) -> int:
    if path.is_file():
        return path.stat().st_size
    return sum(entry.stat().st_size for entry in path.rglob("*") if entry.is_file() and not entry.is_symlink())
