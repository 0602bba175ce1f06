"""Token shards on disk: find, open, and write them in a stream."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Literal

import numpy as np

from golfpipe.data.shard_format import (
    SHARD_HEADER_BYTES,
    SHARD_MAX_TOKENS,
    SHARD_TOKEN_DTYPE,
    parse_shard_header,
    shard_header,
)
from golfpipe.errors import DataError
from golfpipe.store.files import writing

Split = Literal["train", "val"]
SPLITS: tuple[Split, Split] = ("train", "val")


def list_shards(folder: Path, split: Split) -> list[Path]:
    """Return the shards of one split, sorted by name: `train_000000.bin`, `fineweb_train_000000.bin`, ... May be
    empty."""
    return sorted(path for path in folder.glob(f"*{split}_*.bin") if path.is_file())


def read_shard_length(path: Path) -> int:
    """Return the number of tokens in a shard. Raises DataError if it is missing or its header and size disagree."""
    try:
        with path.open("rb") as file:
            return parse_shard_header(file.read(SHARD_HEADER_BYTES), os.fstat(file.fileno()).st_size, str(path))
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}", path=str(path)) from error


def open_shard(path: Path) -> np.ndarray:
    """Return the tokens of a shard as a read-only uint16 memory map. Raises DataError as `read_shard_length` does."""
    num_tokens = read_shard_length(path)
    if num_tokens == 0:
        return np.empty(0, dtype=SHARD_TOKEN_DTYPE)  # numpy refuses to map nothing
    return np.memmap(path, dtype=SHARD_TOKEN_DTYPE, mode="r", offset=SHARD_HEADER_BYTES, shape=(num_tokens,))


class ShardFile:
    """The tokens of a shard, read from the file when a slice asks for them.

    It is for work that takes hours: if the file is cut short or its disk is lost meanwhile, a memory map would kill the
    process without a word, while this raises DataError that says where.
    """

    def __init__(self, path: Path) -> None:
        """Open the shard. Raises DataError as `read_shard_length` does."""
        self._path = path
        self._num_tokens = read_shard_length(path)

    def __len__(self) -> int:
        return self._num_tokens

    def __getitem__(self, part: slice, /) -> np.ndarray:
        start, stop, step = part.indices(self._num_tokens)
        assert step == 1
        count = max(0, stop - start)
        offset = SHARD_HEADER_BYTES + start * SHARD_TOKEN_DTYPE.itemsize
        try:
            tokens = np.fromfile(self._path, dtype=SHARD_TOKEN_DTYPE, count=count, offset=offset)
        except OSError as error:
            raise self._lost(start, stop, error.strerror or str(error)) from error
        if len(tokens) != count:
            raise self._lost(start, stop, "the file was cut short while it was in use")
        return tokens

    def _lost(self, start: int, stop: int, why: str) -> DataError:
        return DataError(
            f"{self._path}: tokens {start} to {stop} cannot be read: {why}",
            hint="bring the file back as it was; the same command then goes on",
            path=str(self._path),
        )


class ShardWriter:
    """Streams tokens into `<split>_000000.bin`, `<split>_000001.bin`, ... of at most `shard_tokens` tokens each.

    The header is written with count 0 and corrected when the shard is complete, so that a file left by a crash is
    refused. Use it as a context manager; at its end the last shard is synced to disk. Without tokens no file appears.
    """

    def __init__(self, folder: Path, split: Split, *, shard_tokens: int) -> None:
        if not 1 <= shard_tokens <= SHARD_MAX_TOKENS:
            raise DataError(f"shard_tokens={shard_tokens} must lie in 1..{SHARD_MAX_TOKENS}")
        self.paths: list[Path] = []
        self.num_tokens = 0
        self._folder = folder
        self._split = split
        self._shard_tokens = shard_tokens
        self._file: BinaryIO | None = None
        self._tokens_in_file = 0

    def write(self, tokens: np.ndarray) -> None:
        """Append a one-dimensional array of token ids, all below 65536; they may span several shards."""
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
        """Complete the current shard and sync it. A later `write` starts the next shard."""
        if self._file is None:
            return
        with writing(self.paths[-1], self._tokens_in_file * SHARD_TOKEN_DTYPE.itemsize), self._file as file:
            file.seek(0)
            file.write(shard_header(self._tokens_in_file))
            file.flush()
            os.fsync(file.fileno())
        self._file = None

    def _open_next(self) -> BinaryIO:
        path = self._folder / f"{self._split}_{len(self.paths):06d}.bin"
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
            with suppress(OSError):  # the disk may be full again; the error under way says so
                self._file.close()  # unfinished: its header still says 0 tokens
