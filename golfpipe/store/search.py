"""Finding artifacts by digest, so that folders may be moved."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from golfpipe.errors import ArtifactError
from golfpipe.store.artifact import Artifact, try_open
from golfpipe.store.manifest import MANIFEST_NAME, InputRef

SEARCH_DEPTH = 4


def find_artifact(ref: InputRef, near: Path) -> Artifact:
    """The artifact that `ref` names: where it was, else below the folders around `near` or ./artifacts.

    Raises ArtifactError naming role and digest where none matches.
    """
    seen: set[Path] = set()
    for path in _candidates(ref, near):
        resolved = path.resolve()
        if resolved in seen:
            continue
        seen.add(resolved)
        artifact = try_open(path)
        if artifact is not None and artifact.manifest.digest == ref.digest:
            return artifact
    raise ArtifactError(
        f"{near}: its {ref.role} ({ref.kind}, digest {ref.digest[:12]}) is neither at {ref.path} nor near by",
        hint=f"give the {ref.role} artifact as an argument",
    )


def find_all(root: Path, depth: int = SEARCH_DEPTH) -> Iterator[Artifact]:
    """Every readable artifact below `root`."""
    for path in _manifest_folders(root, depth):
        artifact = try_open(path)
        if artifact is not None:
            yield artifact


def _candidates(ref: InputRef, near: Path) -> Iterator[Path]:
    yield Path(ref.path)
    for root in (near.parent, near.parent.parent, Path("artifacts")):
        yield from _manifest_folders(root, SEARCH_DEPTH)


def _manifest_folders(root: Path, depth: int) -> Iterator[Path]:
    if not root.is_dir():
        return
    if (root / MANIFEST_NAME).is_file():
        yield root
        return
    if depth == 0:
        return
    try:
        children = sorted(child for child in root.iterdir() if child.is_dir() and not child.name.startswith("."))
    except OSError:
        return
    for child in children:
        yield from _manifest_folders(child, depth - 1)
