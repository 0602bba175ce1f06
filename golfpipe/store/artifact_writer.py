"""Artifact folders being made: written whole or not at all, by the one process that holds the lock of the output."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from golfpipe.errors import ArtifactError, UsageError
from golfpipe.store.artifact import try_open
from golfpipe.store.canonical import canonical_json, file_sha256
from golfpipe.store.files import (
    make_folder,
    partial_folder,
    recover,
    remove_temporaries,
    replace_folder,
    sync_file,
    sync_folder,
    write_file,
    writing,
)
from golfpipe.store.lock import Hold
from golfpipe.store.manifest import (
    KIND_VERSIONS,
    MANIFEST_NAME,
    SCHEMA,
    FileEntry,
    InputRef,
    Manifest,
    Result,
    is_plain_name,
    result_digest,
)

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor


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
        """Return the path for a file that only the work needs, such as a checkpoint. `finish` leaves it out."""
        self.scratch_files.add(name)
        return self.path(name, content=False)

    def path(self, name: str, *, content: bool = True) -> Path:
        """Return the path at which the stage writes file `name` itself. `content=False`: a log, outside the digest."""
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

    def write_json(self, name: str, value: Any) -> None:
        self.write(name, (canonical_json(value) + "\n").encode())

    def write_arrays(self, name: str, arrays: Mapping[str, np.ndarray], metadata: dict[str, Any] | None = None) -> None:
        from golfpipe.store.arrays import arrays_to_bytes

        self.write(name, arrays_to_bytes(arrays, metadata))

    def write_tensors(self, name: str, tensors: dict[str, Tensor], metadata: dict[str, Any] | None = None) -> None:
        from golfpipe.store.tensors import tensors_to_bytes

        self.write(name, tensors_to_bytes(tensors, metadata))


class IdleWriter(ArtifactWriter):
    """The writer of a process that only computes along with the first one: it writes nothing."""

    def path(self, name: str, *, content: bool = True) -> Path:
        return self.folder / name

    def write(self, name: str, data: bytes, *, content: bool = True) -> None:
        pass

    def append(self, name: str, data: bytes) -> None:
        pass

    def write_tensors(self, name: str, tensors: dict[str, Tensor], metadata: dict[str, Any] | None = None) -> None:
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


def begin_in_place(out: Path, hold: Hold) -> ArtifactWriter:
    """Start adding a manifest to the folder `out`, which holds the files already."""
    remove_temporaries(out, MANIFEST_NAME)
    return ArtifactWriter(out, hold)


def _refuse_links(partial: Path) -> None:
    """Check that no unfinished file is a link, through which writing changes another file. Raises ArtifactError."""
    for path in partial.rglob("*"):
        if path.is_symlink() or (not path.is_dir() and path.stat().st_nlink > 1):
            raise ArtifactError(f"{path}: a link, which no run of golfpipe leaves", hint="--force starts afresh")


def check_replaceable(out: Path) -> None:
    """Check that nothing but an artifact would be replaced at `out`. Raises UsageError."""
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise UsageError(f"{out}: a file or link, but the output is a folder", hint="give another -o", path=str(out))
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
        found.verify()
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


def abandon(partial: Path) -> None:
    """Remove what a failed stage left half built."""
    with suppress(OSError):
        # Without its manifest nobody takes the rest for complete.
        (partial / MANIFEST_NAME).unlink(missing_ok=True)
        shutil.rmtree(partial)
