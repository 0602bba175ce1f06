"""Token shards on disk: find them, and read them when a slice asks for their tokens."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from golfpipe.data.shard_format import (
    SHARD_HEADER_BYTES,
    SHARD_TOKEN_DTYPE,
    Split,
    is_shard,
    parse_shard_header,
)
from golfpipe.errors import DataError


def list_shards(folder: Path, split: Split) -> list[Path]:
    """Return the shards of one split, sorted by name: `train_000000.bin`, `fineweb_train_000000.bin`, ... It may be
    none."""
    return sorted(path for path in folder.glob("*.bin") if is_shard(path.name, split) and path.is_file())


def read_shard_length(path: Path) -> int:
    """Return the number of tokens in a shard. Raises DataError if it is missing or its header and size disagree."""
    try:
        with path.open("rb") as file:
            return parse_shard_header(file.read(SHARD_HEADER_BYTES), os.fstat(file.fileno()).st_size, str(path))
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}", path=str(path)) from error


class ShardFile:
    """The tokens of a shard, read when a slice asks for them. No file stays open.

    A memory map would hold a file descriptor each, of which a process has about a thousand; and where the file is cut
    short or its disk is lost meanwhile, it would end the process without a word. Here the slice raises DataError.
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
        try:
            return self._read(start, max(0, stop - start))
        except (OSError, EOFError) as error:
            raise DataError(
                f"{self._path}: tokens {start} to {stop} cannot be read: {getattr(error, 'strerror', None) or error}",
                hint="bring the file back as it was; the same command then goes on",
                path=str(self._path),
            ) from error

    def _read(self, start: int, count: int) -> np.ndarray:
        offset = SHARD_HEADER_BYTES + start * SHARD_TOKEN_DTYPE.itemsize
        tokens = np.fromfile(self._path, dtype=SHARD_TOKEN_DTYPE, count=count, offset=offset)
        if len(tokens) != count:
            raise EOFError("the file was cut short while it was in use")
        return tokens
