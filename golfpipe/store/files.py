"""Files and folders that appear under their final name only when they are complete.

A file is written to a temporary sibling, synced and renamed. A folder is built as `.<name>.<token>.partial`, where the
token names the process that builds it, and then takes the place of the old one; a crash between the two renames leaves
`.<name>.old`, which `recover` puts back.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from golfpipe.errors import StageFailed
from golfpipe.units import format_bytes

NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
_HIDDEN = re.compile(r"\.(?P<name>.+?)(\.[0-9a-f]{12}(?=\.partial))?\.(partial|old|lock)", re.DOTALL)
"""The names of the hidden siblings of an output folder; a partial folder's has a token."""


def write_file(path: Path, content: bytes) -> None:
    """Write `content` under `path` so that a crash leaves the old file or the new one. Raises as `writing` does."""
    temporary = path.with_name(f".{path.name}.{new_token()}.tmp")  # two processes never write one file
    with writing(path, len(content)):
        try:
            with temporary.open("xb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(temporary, path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


def new_token() -> str:
    """Return twelve random hexadecimal digits, which tell the files of one process from those of all others."""
    return uuid4().hex[:12]


def remove_temporaries(folder: Path, name: str = "*") -> None:
    """Remove what killed processes left of `write_file` in `folder`: the temporary files for `name`, or all of them."""
    for path in folder.glob(f".{name}.{'[0-9a-f]' * 12}.tmp"):
        path.unlink(missing_ok=True)


@contextmanager
def writing(path: Path, needed: int | None = None) -> Iterator[None]:
    """Turn an OSError inside the `with` block, which writes `path`, into StageFailed. The message names the file, which
    an error about an open descriptor does not, and how many bytes were `needed`, where that is known."""
    try:
        yield
    except OSError as error:
        if error.errno in NO_SPACE:
            raise no_space(path, needed) from error
        size = f" ({format_bytes(needed)} were to go there)" if needed is not None else ""
        raise StageFailed(
            f"{path}: cannot be written: {error.strerror or error}{size}",
            hint="give another folder with -o, or make this one writable; earlier artifacts are as they were",
            path=str(path),
        ) from error


def no_space(path: Path, needed: int | None = None) -> StageFailed:
    """Return the error for a full disk or an exhausted quota."""
    needs = f"{format_bytes(needed)} were needed, " if needed is not None else ""
    return StageFailed(
        f"{path}: no space left ({needs}{format_bytes(free_bytes(path.parent))} are free)",
        hint="free space or give another folder with -o; earlier artifacts are as they were",
        path=str(path),
    )


def free_bytes(folder: Path) -> int:
    """Return the free bytes of the file system on which `folder` is or will be."""
    folder = folder.absolute()
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return shutil.disk_usage(folder).free


def sync_file(path: Path) -> None:
    """Flush a file that somebody else wrote to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(path: Path) -> None:
    """Make what was made, renamed and removed in this folder durable. Does nothing where folders cannot be opened
    (Windows)."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def named_path(path: Path) -> Path:
    """Return `path` in a form that ends in a name, unlike `.` and `..`."""
    return path if path.name not in ("", "..") else path.resolve()


def make_folder(path: Path, below: Path | None = None) -> None:
    """Make the folder `path` and its missing parents durably: a power cut loses a folder, with all that is in it, until
    the folder above is synced. With `below`, only parents below that folder are made; raises OSError if it is missing.
    """
    if path != below and not path.is_dir():
        make_folder(path.parent, below)
        path.mkdir(exist_ok=True)
        sync_folder(path.parent)


def check_writable(out: Path) -> None:
    """Raise StageFailed where `out` cannot be made: what is above it is no folder, or may not be written to."""
    above = out.absolute().parent
    while not os.path.lexists(above):
        above = above.parent
    if not above.is_dir():
        raise _unwritable(out, f"{above} is no folder")
    if not os.access(above, os.W_OK | os.X_OK):
        raise _unwritable(out, f"{above}: Permission denied")


def _unwritable(out: Path, why: str) -> StageFailed:
    return StageFailed(f"{out}: cannot be written: {why}", hint="give another folder with -o", path=str(out))


def partial_folder(out: Path, token: str | None = None) -> Path:
    """Return the folder in which the process with this token builds `out`. Without a token, return the one that is
    there, whoever builds or left it, or a path at which nothing is."""
    if token is not None:
        return out.with_name(f".{out.name}.{token}.partial")
    names = out.parent.iterdir() if out.parent.is_dir() else ()
    found = [path for path in names if path.name.endswith(".partial") and owner_of(path) == out]
    # There are two where a process was killed in the moment in which it lost its lock; its own has no files then.
    return max(found, key=_count_files, default=out.with_name(f".{out.name}.partial"))


def _count_files(folder: Path) -> int:
    return sum(len(files) for _, _, files in os.walk(folder))


def old_folder(out: Path) -> Path:
    """Return the folder that holds the previous `out` for the moment in which the new one takes its place."""
    return out.with_name(f".{out.name}.old")


def owner_of(path: Path) -> Path:
    """Return the output folder that a hidden sibling belongs to, and any other path as it is."""
    hidden = _HIDDEN.fullmatch(path.name)
    return path.with_name(hidden["name"]) if hidden is not None else path


def recover(out: Path) -> None:
    """Repair what a crash inside `replace_folder` left: put the old folder back, or remove it.

    Only the holder of the lock of `out` may call this: a replacement in progress looks the same.
    """
    old = old_folder(out)
    if old.exists():
        if out.exists():
            shutil.rmtree(old)
        else:
            os.replace(old, out)
            sync_folder(out.parent)


def replace_folder(new: Path, out: Path) -> None:
    """Put the complete folder `new` in the place of `out`, which may exist. The caller holds the lock of `out`."""
    recover(out)
    with writing(out):
        if out.exists():
            os.replace(out, old_folder(out))
        try:
            os.replace(new, out)
        except OSError:
            recover(out)
            raise
        sync_folder(out.parent)
    shutil.rmtree(old_folder(out), ignore_errors=True)
