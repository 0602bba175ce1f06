"""Finding artifacts by digest, so that folders may be moved."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from golfpipe.errors import ArtifactError
from golfpipe.store.artifact import Artifact, try_open
from golfpipe.store.manifest import MANIFEST_NAME, InputRef
from golfpipe.store.recorded_path import recorded_path

SEARCH_DEPTH = 4
MAX_FOLDERS = 5000
"""The most folders looked at: an artifact in /tmp or a home folder must not start a walk over the disk."""


def find_artifact(ref: InputRef, near: Path) -> Artifact:
    """Return the artifact that `ref` names: where it was, else below the folders around `near` or ./artifacts.

    Raises ArtifactError naming role and digest where none matches.
    """
    seen: set[Path] = set()
    for path in _candidates(ref, near):
        try:
            resolved = path.resolve()
        except (OSError, ValueError):  # a path of another system, or of nobody's: too long, or with a NUL
            continue
        if resolved in seen:
            continue
        seen.add(resolved)
        artifact = try_open(path)
        if artifact is not None and artifact.manifest.digest == ref.digest:
            return artifact
    raise ArtifactError(
        f"{near}: its {ref.role} ({ref.kind}, digest {ref.digest[:12]}) is neither at {ref.path} nor near by",
        hint=f"give the {ref.role} artifact as an argument",
        path=str(near),
    )


def find_all(root: Path, depth: int = SEARCH_DEPTH) -> Iterator[Artifact]:
    """Yield every readable artifact below `root`."""
    for path in _manifest_folders(root, depth):
        artifact = try_open(path)
        if artifact is not None:
            yield artifact


def _candidates(ref: InputRef, near: Path) -> Iterator[Path]:
    yield recorded_path(ref.path)
    around = near.absolute().parent
    for root in (around, around.parent, Path("artifacts")):
        yield from _manifest_folders(root, SEARCH_DEPTH)


def _manifest_folders(root: Path, depth: int) -> Iterator[Path]:
    """Yield the folders that hold a manifest, nearest level first. It looks at MAX_FOLDERS at most, none hidden."""
    level, looked_at = [root], 0
    for _ in range(depth + 1):
        below: list[Path] = []
        for folder in level:
            looked_at += 1
            if looked_at > MAX_FOLDERS:
                return
            if _holds_manifest(folder):
                yield folder
            else:
                below += visible_children(folder)
        level = below


def _holds_manifest(folder: Path) -> bool:
    try:
        return (folder / MANIFEST_NAME).is_file()
    except OSError:  # a folder that may not be entered
        return False


def visible_children(folder: Path) -> list[Path]:
    """Return the folders in `folder` that are not hidden, by name; none where it cannot be read."""
    try:
        with os.scandir(folder) as entries:
            found = [entry.name for entry in entries if not entry.name.startswith(".") and entry.is_dir()]
    except OSError:
        return []
    return [folder / name for name in sorted(found)]
