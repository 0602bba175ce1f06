"""Digests, for the keys of data commands, of what they read besides artifacts."""

from __future__ import annotations

import hashlib
import sysconfig
from collections.abc import Iterable
from pathlib import Path

from golfpipe.data.demo_corpus import MAX_SOURCE_BYTES, SKIPPED_FOLDERS
from golfpipe.errors import DataError
from golfpipe.store.canonical import digest_of, file_sha256


def files_digest(files: Iterable[Path], *more: str | None) -> str:
    """Return a digest of the files' contents in their order, and of `more`: other things that decide the result.

    Raises DataError for a file that cannot be read.
    """
    contents = []
    for path in files:
        try:
            contents.append(file_sha256(path))
        except OSError as error:
            raise DataError(f"{path}: cannot be read: {error.strerror}", path=str(path)) from error
    return digest_of({"files": contents, "more": list(more)})


def demo_digest(library: Path | None = None) -> str:
    """Return a digest of the sources of the demo corpus, which are this Python's standard library.

    Reading them is much faster than parsing them for their prose, which `data demo` does only when it has to.
    """
    root = library or Path(sysconfig.get_paths()["stdlib"])
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).parts
        read = SKIPPED_FOLDERS.isdisjoint(parts) and path.stat().st_size <= MAX_SOURCE_BYTES
        if read or parts == ("pydoc_data", "topics.py"):
            digest.update(f"{'/'.join(parts)}\0{path.stat().st_size}\0".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()
