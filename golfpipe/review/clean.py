"""Find what may be removed from a run folder, and remove it.

Removable is what is superseded by something that is there and intact: artifacts whose model was made again, the
checkpoint of a training that is finished, the folder that a new one replaced, cells of an earlier sweep; and leftovers
of crashes that nothing can go on from. A stale step alone shows none of this: what it was made from may be elsewhere,
or gone for good. A trained model or a submission is removed only where it is named itself.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from golfpipe.errors import ArtifactError, Busy, UsageError
from golfpipe.jobs.unfinished import JOB_FILE, read_begun
from golfpipe.pipeline.seeds import seed_folders
from golfpipe.report.run_data import CELLS, SWEEP, SWEEP_RESULTS
from golfpipe.store.artifact import Artifact, open_artifact, try_open
from golfpipe.store.files import named_path, owner_of, partial_folder
from golfpipe.store.lock import lock_holder, output_lock
from golfpipe.store.manifest import MANIFEST_NAME, Kind
from golfpipe.store.search import find_all
from golfpipe.sweeps.run import FINISHED

KEPT_KINDS: tuple[Kind, ...] = ("trained_model", "weights", "token_data", "submission")
"""Kinds that are removed only by name: hours of work, others' input, and what may have been handed in."""
TEMPORARY_SECONDS = 3600.0
"""Temporary files younger than this stay, since somebody may be writing them."""


@dataclass(frozen=True, kw_only=True)
class Removable:
    """A file or folder, and why it may be removed."""

    path: Path
    why: str
    bytes: int


def find_removable(path: Path) -> list[Removable]:
    """Return what is left over or superseded in a run folder. For one artifact, finished or not, return the artifact
    itself, of whatever kind, and its leftovers.

    Raises UsageError for a folder that is neither, Busy where the named artifact is being written.
    """
    if not path.is_dir():
        if partial_folder(path).is_dir():
            return list(_leftovers(path.parent, only=path.name))
        raise UsageError(
            f"{path}: no such folder",
            hint="give a run folder such as artifacts/demo",
            path=str(path),
            wanted=("run", "artifact", "there"),
        )
    if (path / MANIFEST_NAME).is_file():
        return _named(path)
    folders = [path, *(path.glob(f"{SWEEP}/{CELLS}"))]
    found = [item for folder in folders for item in _leftovers(folder)]
    found += [item for folder in seed_folders(path).values() if _is_run(folder) for item in find_removable(folder)]
    if not _is_run(path) and not seed_folders(path):
        if found:
            return found
        raise UsageError(
            f"{path}: holds nothing of golfpipe's",
            hint="give a run folder such as artifacts/demo",
            path=str(path),
            wanted=("run", "artifact", "there"),
        )
    return [*found, *_superseded(path), *_forgotten_cells(path / SWEEP)]


def remove(items: list[Removable]) -> int:
    """Remove the items and return the bytes that this freed. An item that a process is writing by now stays."""
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
    """Return one artifact by name, which may be a trained model, with its leftovers."""
    artifact = open_artifact(path)
    if artifact.manifest.location is not None and artifact.path.resolve() == Path(artifact.manifest.location).resolve():
        raise UsageError(f"{path}: the shards in it are yours; golfpipe only added its manifest", path=str(path))
    holder = lock_holder(path)
    if holder is not None:
        raise Busy(f"{path}: {holder} is writing here", path=str(path))
    out = named_path(path)
    return [
        *_leftovers(out.parent, only=out.name),
        Removable(path=out, why=f"{artifact.manifest.kind}, named", bytes=_size(out)),
    ]


def _leftovers(folder: Path, only: str | None = None) -> Iterator[Removable]:
    """Yield what crashes and interruptions left beside the artifacts in `folder`, or of the output `only`."""
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
    """Say why a leftover may be removed; None means that it stays."""
    if suffix == "lock":
        return "lock of a dead process"
    if suffix == "old":
        # Without the new folder the old one is the only one, and the next command puts it back.
        return "replaced artifact" if out.exists() and _intact(out) is not None else None
    if not (path / JOB_FILE).is_file():
        # A complete folder, whose process died before it could put it in place, is put there by the same command.
        return "unfinished, cannot be resumed" if named or try_open(path) is None else None
    if _is_finished(path, out):
        return "checkpoint of a run that is finished"
    # these are hours of training, which --resume goes on with
    return "checkpoint of an interrupted run, named" if named else None


def _is_finished(partial: Path, out: Path) -> bool:
    """Return True if `out` holds, whole, what the checkpoint in `partial` was to become, and is the newer of both."""
    finished = _intact(out)
    try:
        begun = read_begun(out)
    except ArtifactError:
        return False
    if finished is None or begun is None or finished.manifest.key != begun.key:
        return False
    newest = max(entry.stat().st_mtime for entry in partial.iterdir())
    return newest <= (out / MANIFEST_NAME).stat().st_mtime


def _intact(path: Path) -> Artifact | None:
    """Return the artifact in `path` if every file is what its manifest says."""
    artifact = try_open(path)
    try:
        if artifact is not None:
            artifact.verify()
    except ArtifactError:
        return None
    return artifact


def _superseded(folder: Path) -> Iterator[Removable]:
    """Yield the artifacts whose model, or what that was made from in turn, was made again in this folder."""
    here = {artifact.path.name: artifact for artifact in find_all(folder, depth=1) if artifact.path != folder}
    for artifact in here.values():
        why = None if artifact.manifest.kind in KEPT_KINDS else _why_superseded(artifact, folder.resolve(), here)
        if why is not None:
            yield Removable(path=artifact.path, why=why, bytes=_size(artifact.path))


def _why_superseded(artifact: Artifact, folder: Path, here: Mapping[str, Artifact]) -> str | None:
    """Say which of the artifacts that it came from was made again, and where the new one is; None where none was.

    Data does not count: a score on other data, or on data that is gone, stays what it is.
    """
    for ref in artifact.manifest.inputs:
        if ref.kind == "token_data":
            continue
        source = next((other for other in here.values() if other.manifest.digest == ref.digest), None)
        if source is not None:
            if source.manifest.kind in KEPT_KINDS:
                continue
            why = _why_superseded(source, folder, here)
            if why is not None:
                return why
        elif Path(ref.path).parent == folder:
            successor = _intact(Path(ref.path))
            if successor is not None and successor.manifest.kind == ref.kind:
                before, now = ref.digest[:8], successor.manifest.digest[:8]
                return f"{Path(ref.path).name} was made again: {before} -> {now}"
    return None


def _forgotten_cells(sweep: Path) -> Iterator[Removable]:
    """Yield the artifacts of earlier grids that none of the present one was made from. The present sweep must be
    finished, and all that its results name must be there and whole."""
    used = _named_by(sweep / SWEEP_RESULTS)
    if not used or lock_holder(sweep) is not None:
        return
    kept = [_intact(sweep / CELLS / name) for name in used]
    if None in kept:
        return
    needed = {ref.digest for artifact in kept if artifact is not None for ref in artifact.manifest.inputs}
    for artifact in find_all(sweep / CELLS, depth=1):
        if artifact.path.name not in used and artifact.manifest.digest not in needed:
            yield Removable(path=artifact.path, why="cell of an earlier sweep", bytes=_size(artifact.path))


def _named_by(results: Path) -> set[str]:
    """Return the folder names that the rows of results.jsonl mention; none where a row waits or cannot be read."""
    names: set[str] = set()
    try:
        for row in map(json.loads, results.read_text(encoding="utf-8").splitlines()):
            if row["state"] not in FINISHED:
                return set()
            names |= {Path(path).name for path in row["artifacts"].values()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return set()
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
