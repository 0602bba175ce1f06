"""Artifact folders: opened with all checks, and written whole or not at all."""

from __future__ import annotations

import difflib
import hashlib
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from golfpipe.errors import ArtifactError, Busy, DataError, UsageError
from golfpipe.store.canonical import canonical_json, file_sha256, parse_json
from golfpipe.store.files import (
    make_folder,
    old_folder,
    partial_folder,
    recover,
    remove_temporaries,
    replace_folder,
    sync_file,
    sync_folder,
    write_file,
    writing,
)
from golfpipe.store.lock import Hold, output_lock
from golfpipe.store.manifest import (
    KIND_VERSIONS,
    MANIFEST_NAME,
    MAX_MANIFEST_BYTES,
    SCHEMA,
    FileEntry,
    InputRef,
    Kind,
    Manifest,
    Result,
    is_plain_name,
    parse_manifest,
    result_digest,
)

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor


@dataclass(frozen=True)
class Artifact:
    """A finished artifact. Its files are checked against the manifest when they are read."""

    path: Path
    manifest: Manifest

    @property
    def folder(self) -> Path:
        """The folder with the files: the artifact's own, or the one that token data points to."""
        return Path(self.manifest.location) if self.manifest.location else self.path

    def reference(self, role: str) -> InputRef:
        return InputRef(role=role, kind=self.manifest.kind, digest=self.manifest.digest, path=str(self.path.resolve()))

    def path_of(self, name: str) -> Path:
        """Return where a listed file is, without checking it. Token data may hold some files itself and point to a
        folder for the others."""
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
    _settle(path)
    manifest_path = path / MANIFEST_NAME
    if not path.exists():
        if partial_folder(path).exists():
            hint = "it is unfinished: run its command again"
            raise ArtifactError(f"{path}: no finished artifact here", hint=hint, path=str(path))
        raise UsageError(f"{path}: no such artifact", hint=_nearest(path), path=str(path))
    if not path.is_dir():
        raise UsageError(f"{path}: a file, but an artifact is a folder", path=str(path))
    if not manifest_path.is_file():
        is_shards = any(path.glob("*.bin"))
        raise ArtifactError(
            f"{path}: no {MANIFEST_NAME}, so this is not a finished artifact",
            hint=f"for a folder of shards: golfpipe data add {path} --tokenizer FILE"
            if is_shards
            else "run the command that writes it again",
            path=str(path),
        )
    manifest = parse_manifest(_read_manifest(manifest_path), str(manifest_path))
    if kinds and manifest.kind not in kinds:
        raise ArtifactError(
            f"{path}: kind {manifest.kind}, expected {' or '.join(kinds)}",
            hint=f"{manifest.kind} is what `golfpipe {manifest.stage.replace('data-', 'data ')}` writes",
            path=str(path),
        )
    return Artifact(path, manifest)


def _nearest(path: Path) -> str | None:
    """Return a hint for an artifact that does not exist: one beside it with a similar name, or None."""
    beside = [child.name for child in path.parent.glob("[!.]*") if (child / MANIFEST_NAME).is_file()]
    near = difflib.get_close_matches(path.name, beside, n=1)
    return f"did you mean {path.parent / near[0]}?" if near else None


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
    """Turn a DataError inside the `with` block into an ArtifactError (exit 3), because the file that cannot be used is
    part of an artifact."""
    try:
        yield
    except DataError as error:
        raise ArtifactError(error.message, hint=error.hint, path=error.path) from error


def try_open(path: Path) -> Artifact | None:
    """Return the artifact in `path`, or None where there is none or it cannot be used."""
    try:
        return open_artifact(path)
    except (ArtifactError, UsageError):
        return None


@dataclass
class ArtifactWriter:
    """The folder that a stage fills. Only `finish` makes it an artifact.

    Before every write it checks the lock of the output, `hold`; None where no other process can know the folder.
    """

    folder: Path
    hold: Hold | None = None
    side_files: set[str] = field(default_factory=set)
    scratch_files: set[str] = field(default_factory=set)

    def check(self) -> None:
        """Raise Busy if the lock of the output is lost."""
        if self.hold is not None:
            self.hold.check()

    def scratch(self, name: str) -> Path:
        """Return the path for a file that only the work needs, such as a checkpoint. `finish` leaves it out of the
        artifact."""
        self.scratch_files.add(name)
        return self.path(name, content=False)

    def path(self, name: str, *, content: bool = True) -> Path:
        """Return the path at which the stage writes file `name` itself. `content=False` marks a log, which is outside
        the digest."""
        assert is_plain_name(name), name
        self.check()
        if not content:
            self.side_files.add(name)
        path = self.folder / name
        make_folder(path.parent, below=self.folder)
        return path

    def write(self, name: str, data: bytes, *, content: bool = True) -> None:
        write_file(self.path(name, content=content), data)

    def append(self, name: str, data: bytes) -> None:
        """Write `data` at the end of the log `name`."""
        path = self.path(name, content=False)
        with writing(path, len(data)), path.open("ab") as stream:
            stream.write(data)

    def write_json(self, name: str, value: Any, *, content: bool = True) -> None:
        self.write(name, (canonical_json(value) + "\n").encode(), content=content)

    def write_arrays(self, name: str, arrays: Mapping[str, np.ndarray], metadata: dict[str, Any] | None = None) -> None:
        from golfpipe.store.arrays import arrays_to_bytes

        self.write(name, arrays_to_bytes(arrays, metadata))

    def write_tensors(
        self, name: str, tensors: dict[str, Tensor], metadata: dict[str, Any] | None = None, *, content: bool = True
    ) -> None:
        from golfpipe.store.tensors import tensors_to_bytes

        self.write(name, tensors_to_bytes(tensors, metadata), content=content)


class IdleWriter(ArtifactWriter):
    """The writer of a process that only computes along with the first one: it writes nothing."""

    def path(self, name: str, *, content: bool = True) -> Path:
        return self.folder / name

    def write(self, name: str, data: bytes, *, content: bool = True) -> None:
        pass

    def append(self, name: str, data: bytes) -> None:
        pass

    def write_tensors(
        self, name: str, tensors: dict[str, Tensor], metadata: dict[str, Any] | None = None, *, content: bool = True
    ) -> None:
        pass


def begin(out: Path, hold: Hold | None = None, *, keep_partial: bool = False) -> ArtifactWriter:
    """Start building `out`. `keep_partial` keeps what an interrupted run left; train resumes from it.

    Raises UsageError where `out` exists and is no artifact: the result would replace it.
    """
    recover(out)
    check_replaceable(out)
    partial = hold.partial if hold is not None else partial_folder(out)
    if partial.is_symlink():
        partial.unlink()
    if not keep_partial:
        shutil.rmtree(partial, ignore_errors=True)
    with writing(out):
        make_folder(partial)
        _refuse_links(partial)
        remove_temporaries(partial)
        # A kept folder still has its manifest if it was complete and damaged afterwards.
        (partial / MANIFEST_NAME).unlink(missing_ok=True)
    return ArtifactWriter(partial, hold)


def _refuse_links(partial: Path) -> None:
    """Check that no file in an unfinished folder is a link: writing to it would change a file elsewhere. Raises
    ArtifactError."""
    for path in partial.rglob("*"):
        if path.is_symlink() or (not path.is_dir() and path.stat().st_nlink > 1):
            raise ArtifactError(f"{path}: a link, which no run of golfpipe leaves", hint="--force starts afresh")


def check_replaceable(out: Path) -> None:
    """Check that nothing but an artifact would be replaced at `out`. Raises UsageError."""
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise UsageError(f"{out}: a file or link, but the output is a folder", hint="another -o", path=str(out))
    if out.is_dir() and not (out / MANIFEST_NAME).is_file() and any(out.iterdir()):
        raise UsageError(
            f"{out}: holds files that are no golfpipe artifact, which the result would replace",
            hint="give a new folder with -o",
            path=str(out),
        )


def finish(
    writer: ArtifactWriter,
    out: Path,
    result: Result,
    *,
    stage: str,
    key: str,
    config: dict[str, Any],
    inputs: tuple[InputRef, ...],
    provenance: dict[str, Any],
) -> Manifest:
    """Hash the files, write the manifest last, put the folder in the place of `out`, and return the manifest."""
    files = {}
    for name in result.files if result.files is not None else _file_names(writer.folder):
        if name in writer.scratch_files:
            continue
        assert is_plain_name(name), name
        path = writer.folder / name
        if result.location is not None and not path.is_file():
            path = Path(result.location) / name
        else:
            sync_file(path)
        files[name] = FileEntry(
            sha256=file_sha256(path), bytes=path.stat().st_size, content=name not in writer.side_files
        )
    if writer.folder != out:
        for parent in {path.parent for path in writer.folder.rglob("*")}:
            sync_folder(parent)
    manifest = Manifest(
        schema=SCHEMA,
        kind=result.kind,
        kind_version=KIND_VERSIONS[result.kind],
        stage=stage,
        key=key,
        digest=result_digest(result.kind, files, result.model, result.metrics),
        config=config,
        inputs=inputs,
        files=files,
        model=result.model,
        metrics=result.metrics,
        provenance=provenance | result.provenance,
        location=result.location,
    ).sealed()
    writer.check()
    write_file(writer.folder / MANIFEST_NAME, manifest.to_json())
    if writer.folder != out:  # `data add` writes its manifest into the folder of shards itself
        writer.check()
        _put_in_place(writer.folder, out, manifest)
    return manifest


def finish_interrupted(out: Path, key: str, partial: Path) -> Manifest | None:
    """Put the artifact with this key in the place of `out`, where its process died when it was complete in the folder
    `partial`, and return its manifest. Return None where there is no such artifact."""
    found = try_open(partial)
    if found is None or found.manifest.key != key:
        return None
    check_replaceable(out)
    try:
        for name in found.manifest.files:
            found.file(name)
    except ArtifactError:
        return None
    _put_in_place(partial, out, found.manifest)
    return found.manifest


def _put_in_place(partial: Path, out: Path, manifest: Manifest) -> None:
    """Remove the files that only the making needed, and rename the complete folder `partial` to `out`."""
    for path in sorted(partial.rglob("*")):
        name = path.relative_to(partial).as_posix()
        if path.is_file() and name != MANIFEST_NAME and name not in manifest.files:
            path.unlink()
    replace_folder(partial, out)


def _file_names(folder: Path) -> Iterable[str]:
    """Return the names of all files below `folder`, except the manifest and hidden files."""
    names = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    shown = (name for name in names if not any(part.startswith(".") for part in name.parts))
    return sorted(name.as_posix() for name in shown if name.as_posix() != MANIFEST_NAME)


def abandon(partial: Path, *, only_empty: bool) -> None:
    """Remove what a failed stage left half built; `only_empty` keeps files to go on from."""
    with suppress(OSError):
        if only_empty:
            partial.rmdir()
        else:
            # Without its manifest nobody takes the rest for complete.
            (partial / MANIFEST_NAME).unlink(missing_ok=True)
            shutil.rmtree(partial)
