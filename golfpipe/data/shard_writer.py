"""Write token shards in a stream."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import numpy as np

from golfpipe.data.shard_format import (
    SHARD_HEADER_BYTES,
    SHARD_MAX_TOKENS,
    SHARD_TOKEN_DTYPE,
    shard_header,
)
from golfpipe.errors import DataError
from golfpipe.store.files import writing


class ShardWriter:
    """Streams tokens into `<name>_000000.bin`, `<name>_000001.bin`, ... of at most `shard_tokens` tokens each. The name
    is that of a split, or of its sidecars, which hold a number for each token.

    The header is written with count 0 and patched when the shard is complete, so a file left by a crash is refused.
    Use it as a context manager; at its end the last shard is synced to disk. Without tokens no file appears.
    """

    def __init__(self, folder: Path, name: str, *, shard_tokens: int) -> None:
        if not 1 <= shard_tokens <= SHARD_MAX_TOKENS:
            raise DataError(f"shard_tokens={shard_tokens} must lie in 1..{SHARD_MAX_TOKENS}")
        self.paths: list[Path] = []
        self.num_tokens = 0
        self._folder = folder
        self._name = name
        self._shard_tokens = shard_tokens
        self._file: BinaryIO | None = None
        self._tokens_in_file = 0

    def write(self, tokens: np.ndarray) -> None:
        """Append a one-dimensional array of token ids, all below 65536; it may span several shards."""
        tokens = np.ascontiguousarray(tokens, dtype=SHARD_TOKEN_DTYPE)
        while len(tokens):
            if self._file is None:
                self._file = self._open_next()
            part = tokens[: self._shard_tokens - self._tokens_in_file]
            with writing(self.paths[-1], part.nbytes):
                self._file.write(part.data)
            self._tokens_in_file += len(part)
            self.num_tokens += len(part)
            tokens = tokens[len(part) :]
            if self._tokens_in_file == self._shard_tokens:
                self.close()

    def close(self) -> None:
        """Complete the current shard and sync it. Writing may go on, into the next shard."""
        if self._file is None:
            return
        with writing(self.paths[-1], self._tokens_in_file * SHARD_TOKEN_DTYPE.itemsize), self._file as file:
            file.seek(0)
            file.write(shard_header(self._tokens_in_file))
            file.flush()
            os.fsync(file.fileno())
        self._file = None

    def _open_next(self) -> BinaryIO:
        path = self._folder / f"{self._name}_{len(self.paths):06d}.bin"
        with writing(path, SHARD_HEADER_BYTES):
            file = path.open("wb")
            file.write(shard_header(0))
        self.paths.append(path)
        self._tokens_in_file = 0
        return file

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        elif self._file is not None:
            with suppress(OSError):  # a full disk again; the error under way tells of it
                self._file.close()  # unfinished: the header still says 0 tokens
