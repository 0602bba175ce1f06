"""Digests, for the keys of data commands, of what they read besides artifacts."""

from __future__ import annotations

import hashlib
import sysconfig
from collections.abc import Iterable
from pathlib import Path

from golfpipe.data.demo_corpus import module_paths
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
    topics = root / "pydoc_data" / "topics.py"
    digest = hashlib.sha256()
    for path in sorted([*module_paths(root), *([topics] if topics.is_file() else [])]):
        digest.update(f"{path.relative_to(root).as_posix()}\0{path.stat().st_size}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()
