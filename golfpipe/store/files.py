"""Whole or not at all: files and folders appear under their final name only when they are complete.

A file is written to a temporary sibling, synced and renamed. A folder is built as `.<name>.partial` and then takes
the place of the old one; a crash between the two renames leaves `.<name>.old`, which `recover` puts back.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path


def write_file(path: Path, content: bytes) -> None:
    """Write `content` under `path` so that a crash leaves the old file or the new one. Raises OSError."""
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(temporary, path)
    sync_folder(path.parent)


def sync_file(path: Path) -> None:
    """Flush a file that somebody else wrote to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(path: Path) -> None:
    """Make renames in this folder durable. Does nothing where folders cannot be opened (Windows)."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def partial_folder(out: Path) -> Path:
    """Where the folder `out` is built."""
    return out.with_name(f".{out.name}.partial")


def _old_folder(out: Path) -> Path:
    return out.with_name(f".{out.name}.old")


def recover(out: Path) -> None:
    """Finish what a crash inside `replace_folder` left: the old folder comes back, or goes away."""
    old = _old_folder(out)
    if old.exists():
        if out.exists():
            shutil.rmtree(old)
        else:
            os.replace(old, out)


def replace_folder(new: Path, out: Path) -> None:
    """Put the complete folder `new` in the place of `out`, which may exist."""
    recover(out)
    if out.exists():
        os.replace(out, _old_folder(out))
    os.replace(new, out)
    sync_folder(out.parent)
    shutil.rmtree(_old_folder(out), ignore_errors=True)
