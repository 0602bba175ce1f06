"""Artifact folders, opened with all checks."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from golfpipe.errors import ArtifactError, Busy, DataError, UsageError
from golfpipe.store.artifact_text import html_table, one_line
from golfpipe.store.canonical import file_sha256, parse_json
from golfpipe.store.files import (
    old_folder,
    partial_folder,
    recover,
)
from golfpipe.store.lock import output_lock
from golfpipe.store.manifest import (
    MANIFEST_NAME,
    MAX_MANIFEST_BYTES,
    FileEntry,
    InputRef,
    Kind,
    Manifest,
    parse_manifest,
    read_fields,
)
from golfpipe.store.recorded_path import recorded_path

if TYPE_CHECKING:
    from torch import Tensor

_NOT_RUN = "golfpipe cannot run weights without an architecture; `golfpipe quantize` and `golfpipe pack` take them"


@dataclass(frozen=True)
class Artifact:
    """A finished artifact. Its files are checked against the manifest when they are read."""

    path: Path
    manifest: Manifest

    def __repr__(self) -> str:
        return one_line(self.path, self.manifest)

    def _repr_html_(self) -> str:
        """Return what a notebook shows."""
        return html_table(self.path, self.manifest)

    @property
    def folder(self) -> Path:
        """The folder with the files: the artifact's own, or the one that token data points to."""
        return recorded_path(self.manifest.location) if self.manifest.location else self.path

    def reference(self, role: str) -> InputRef:
        return InputRef(role=role, kind=self.manifest.kind, digest=self.manifest.digest, path=str(self.path.resolve()))

    def path_of(self, name: str) -> Path:
        """Return where a listed file is, without checking it. Token data may point to a folder for some files."""
        own = self.path / name
        return own if self.manifest.location is None or own.is_file() else self.folder / name

    def file(self, name: str) -> Path:
        """Return the path of a listed file after checking its size and sha256, read in pieces. Raises ArtifactError."""
        entry, path = self._entry(name), self.path_of(name)
        self._check_size(path, entry)
        if file_sha256(path) != entry.sha256:
            raise ArtifactError(f"{path}: sha256 differs from the manifest: the file was altered", path=str(path))
        return path

    def read(self, name: str, *, at_most: int | None = None) -> bytes:
        """Return the content of a listed file; the bytes returned are the bytes checked. Raises ArtifactError, also for
        a file of more than `at_most` bytes: a sparse file can be larger than the disk."""
        entry, path = self._entry(name), self.path_of(name)
        self._check_size(path, entry)
        if at_most is not None and entry.bytes > at_most:
            raise ArtifactError(f"{path}: {entry.bytes} bytes, at most {at_most} belong here", path=str(path))
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() != entry.sha256:
            raise ArtifactError(f"{path}: sha256 differs from the manifest: the file was altered", path=str(path))
        return content

    def verify(self) -> None:
        """Check the size and sha256 of every listed file. Raises ArtifactError."""
        for name in self.manifest.files:
            self.file(name)

    def read_json(self, name: str) -> Any:
        return parse_json(self.read(name, at_most=MAX_MANIFEST_BYTES), str(self.path_of(name)))

    def read_tensors(self, name: str) -> dict[str, Tensor]:
        from golfpipe.store.tensors import tensors_from_bytes

        return tensors_from_bytes(self.read(name), str(self.path_of(name)))

    def _entry(self, name: str) -> FileEntry:
        entry = self.manifest.files.get(name)
        if entry is None:
            raise ArtifactError(f"{self.path / MANIFEST_NAME}: no file {name} in this {self.manifest.kind}")
        return entry

    def _check_size(self, path: Path, entry: FileEntry) -> None:
        if not path.is_file() or (path.is_symlink() and not self.manifest.location):
            raise ArtifactError(f"{path}: listed in the manifest but missing, or not a plain file", path=str(path))
        size = path.stat().st_size
        if size != entry.bytes:
            raise ArtifactError(f"{path}: {size} bytes, the manifest says {entry.bytes}", path=str(path))


def open_artifact(path: Path, *kinds: Kind) -> Artifact:
    """Open the artifact in `path`. Raises UsageError (exit 2) where there is no artifact, ArtifactError (exit 3) for
    one that is damaged, unfinished or not of one of `kinds` (any kind where none is given)."""
    check_usable(path)
    _settle(path)
    wanted = kinds or ("artifact",)
    manifest_path = path / MANIFEST_NAME
    if not path.exists():
        if partial_folder(path).exists():
            hint = "it is unfinished: run its command again"
            raise ArtifactError(f"{path}: no finished artifact here", hint=hint, path=str(path), wanted=wanted)
        raise UsageError(f"{path}: no such artifact", path=str(path), wanted=wanted)
    if not path.is_dir():
        raise UsageError(f"{path}: a file, but an artifact is a folder", path=str(path), wanted=wanted)
    if not manifest_path.is_file():
        raise ArtifactError(
            f"{path}: no {MANIFEST_NAME}, so this is not a finished artifact", path=str(path), wanted=wanted
        )
    manifest = parse_manifest(_read_manifest(manifest_path), str(manifest_path))
    if kinds and manifest.kind not in kinds:
        raise ArtifactError(
            f"{path}: kind {manifest.kind}, expected {' or '.join(kinds)}",
            hint=_NOT_RUN if manifest.kind == "weights" else None,
            path=str(path),
            wanted=wanted,
        )
    return Artifact(path, manifest)


def refuse_rehearsals(*artifacts: Artifact) -> None:
    """Raise UsageError where one of the artifacts is a rehearsal's, for what takes results only."""
    rehearsed = next((artifact for artifact in artifacts if artifact.manifest.is_rehearsal), None)
    if rehearsed is not None:
        raise UsageError(
            f"{rehearsed.path}: made by a rehearsal of one training step, so its numbers are no result",
            hint="give what the run itself made: golfpipe run without --rehearse",
            path=str(rehearsed.path),
        )


def check_usable(path: Path) -> None:
    """Check that the system can look for the path at all: it is not too long, holds no NUL, and may be entered. Raises
    UsageError."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return
    except UnicodeEncodeError as error:
        raise UsageError(f"{path}: not in the system's encoding {error.encoding}", path=str(path)) from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UsageError(f"{path}: no path of this system: {reason}", path=str(path)) from error


def _read_manifest(path: Path) -> bytes:
    with path.open("rb") as stream:
        content = stream.read(MAX_MANIFEST_BYTES + 1)
    if len(content) > MAX_MANIFEST_BYTES:
        raise ArtifactError(f"{path}: more than {MAX_MANIFEST_BYTES} bytes, so not a manifest", path=str(path))
    return content


def _settle(path: Path) -> None:
    """Wait until a replacement of `path` in progress is done, or undo one that a crash cut in two."""
    if not path.name or path.name == "..":
        return  # only a root or relative folder has no name; no artifact is one
    for _ in range(20):
        if path.exists() or not old_folder(path).exists():
            return
        try:
            with output_lock(path):
                recover(path)
        except Busy:
            time.sleep(0.05)


@contextmanager
def part_of_artifact() -> Iterator[None]:
    """Turn a DataError inside the `with` block into an ArtifactError (exit 3): it is about part of an artifact."""
    try:
        yield
    except DataError as error:
        raise ArtifactError(error.message, hint=error.hint, path=error.path) from error


def try_open(path: Path) -> Artifact | None:
    """Return the artifact in `path`, or None where there is none or it cannot be used."""
    try:
        return open_artifact(path)
    except (ArtifactError, UsageError, OSError):
        return None


def glance(path: Path) -> Artifact:
    """Open the artifact in `path` without computing digest and checksum of its manifest: enough to list it.

    Raises ArtifactError for an unreadable manifest, OSError where there is none.
    """
    manifest_path = path / MANIFEST_NAME
    return Artifact(path, read_fields(_read_manifest(manifest_path), str(manifest_path)))
