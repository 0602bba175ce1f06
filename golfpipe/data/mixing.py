"""Documents in a random order, however many there are: dealt out to buckets on disk, each of which fits in memory.

A document goes to a random bucket, and each bucket is read back in a random order, so that every order of the whole is
equally likely. The seed is fixed: the same documents give the same order.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from golfpipe.data.shard_format import SHARD_TOKEN_DTYPE
from golfpipe.scoring.documents import document_starts
from golfpipe.store.files import writing

BUCKET_BYTES = 64 << 20
"""Bytes of text, which has about as many bytes in tokens."""
MAX_BUCKETS = 200
"""Files that are open at once; a process may have about a thousand."""
SEED = 0


class Mixer:
    """Write documents, then read them in a random order. Use it as a context manager, which removes its files."""

    def __init__(self, folder: Path, name: str, *, bos_id: int, text_bytes: int) -> None:
        """`name` is part of the files' names, and of the seed; `text_bytes`: about how much text will come."""
        self._bos_id = bos_id
        self._random = np.random.default_rng([SEED, *name.encode()])
        count = min(MAX_BUCKETS, -(-text_bytes // BUCKET_BYTES) or 1)
        self._paths = [folder / f".{name}-{number}.documents" for number in range(count)]
        self._stack = ExitStack()
        for path in self._paths:
            self._stack.callback(path.unlink, missing_ok=True)
        with writing(folder):
            self._files = [self._stack.enter_context(path.open("wb")) for path in self._paths]

    def write(self, ids: np.ndarray) -> None:
        """Take a document, whose first token and no other is BOS."""
        number = int(self._random.integers(len(self._files)))
        with writing(self._paths[number], ids.nbytes):
            self._files[number].write(np.ascontiguousarray(ids, dtype=SHARD_TOKEN_DTYPE).data)

    def mixed(self) -> Iterator[np.ndarray]:
        """Yield every document; nothing can be written after that."""
        for path, file in zip(self._paths, self._files, strict=True):
            with writing(path):
                file.close()
            tokens = np.fromfile(path, dtype=SHARD_TOKEN_DTYPE)
            path.unlink()
            documents = np.split(tokens, document_starts(tokens, self._bos_id)[1:]) if len(tokens) else []
            for index in self._random.permutation(len(documents)):
                yield documents[index]

    def __enter__(self) -> Mixer:
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()
