"""The token shard format, and a stream of training batches over many shards.

A shard is 256 little-endian int32 (magic 20240520, version 1, number of tokens, zeros) followed by that many
little-endian uint16 tokens. Files are opened elsewhere: this module sees bytes and arrays.
"""

# Shapes: B sequences, T tokens per sequence

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch

from golfpipe.errors import DataError

SHARD_MAGIC = 20240520
SHARD_VERSION = 1
SHARD_HEADER_BYTES = 256 * 4
SHARD_TOKEN_DTYPE = np.dtype("<u2")
SHARD_MAX_TOKENS = 2**31 - 1
"""The count is one int32."""


def shard_header(num_tokens: int) -> bytes:
    """The 1024 header bytes of a shard of `num_tokens` tokens."""
    if not 0 <= num_tokens <= SHARD_MAX_TOKENS:
        raise DataError(f"a shard holds 0..{SHARD_MAX_TOKENS} tokens, not {num_tokens}")
    fields = np.zeros(256, dtype="<i4")
    fields[:3] = SHARD_MAGIC, SHARD_VERSION, num_tokens
    return fields.tobytes()


def parse_shard_header(header: bytes, file_size: int, name: str) -> int:
    """Number of tokens of the shard `name`, whose file has `file_size` bytes and starts with `header`.

    Raises DataError naming the file, the field, what it holds and what was expected.
    """
    if len(header) < SHARD_HEADER_BYTES:
        raise DataError(
            f"{name}: {len(header)} bytes are too short for the {SHARD_HEADER_BYTES}-byte header of a shard", path=name
        )
    magic, version, num_tokens = (int(field) for field in np.frombuffer(header, dtype="<i4", count=3))
    if magic != SHARD_MAGIC:
        raise DataError(
            f"{name}: magic is {magic}, expected {SHARD_MAGIC}", hint="this is not a token shard", path=name
        )
    if version != SHARD_VERSION:
        raise DataError(f"{name}: version is {version}, expected {SHARD_VERSION}", path=name)
    if num_tokens < 0:
        raise DataError(f"{name}: token count is {num_tokens}, expected 0 or more", path=name)
    expected_size = SHARD_HEADER_BYTES + num_tokens * SHARD_TOKEN_DTYPE.itemsize
    if file_size != expected_size:
        raise DataError(
            f"{name}: token count {num_tokens} needs a file of {expected_size} bytes, found {file_size}",
            hint="the file is cut short; copy it again" if file_size < expected_size else None,
            path=name,
        )
    return num_tokens


class TokenSource(Protocol):
    """The tokens of one shard: an array, or a file that is read in slices."""

    def __len__(self) -> int: ...

    def __getitem__(self, part: slice, /) -> np.ndarray: ...


class TokenStream:
    """Tokens of all shards in file order, starting again at the first shard after the last, without end.

    `position` is the next token's (shard index, offset in that shard): save it with a checkpoint, assign it to resume.
    Only the tokens asked for are copied, so the shards may be memory maps of any size.
    """

    def __init__(self, shards: Sequence[TokenSource]) -> None:
        """`shards`: one-dimensional uint16 arrays, or what gives such. Raises DataError if they hold no token at all."""
        self._shards = list(shards)
        self.num_tokens = sum(len(shard) for shard in self._shards)
        if self.num_tokens == 0:
            raise DataError(f"the {len(self._shards)} shards hold no tokens")
        self._shard_index = 0
        self._offset = 0
        self._step_over_ends()

    @property
    def position(self) -> tuple[int, int]:
        return self._shard_index, self._offset

    @position.setter
    def position(self, position: tuple[int, int]) -> None:
        """Raises DataError for a place that these shards do not have."""
        shard_index, offset = position
        if not (0 <= shard_index < len(self._shards) and 0 <= offset < len(self._shards[shard_index])):
            raise DataError(
                f"data position (shard {shard_index}, offset {offset}) lies outside the {len(self._shards)} shards",
                hint="the checkpoint belongs to other data",
            )
        self._shard_index, self._offset = shard_index, offset

    def take(self, num_tokens: int) -> np.ndarray:
        """The next `num_tokens` tokens as a new uint16 array; the stream moves past them."""
        taken = np.empty(num_tokens, dtype=np.uint16)
        filled = 0
        while filled < num_tokens:
            shard = self._shards[self._shard_index]
            run = shard[self._offset : self._offset + num_tokens - filled]
            taken[filled : filled + len(run)] = run
            filled += len(run)
            self._offset += len(run)
            self._step_over_ends()
        return taken

    def skip(self, num_tokens: int) -> None:
        """Move on by `num_tokens` tokens (0 or more) without reading them."""
        assert num_tokens >= 0
        self._offset += num_tokens % self.num_tokens
        self._step_over_ends()

    def next_batch(self, num_sequences: int, length: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Inputs and targets, int64 [B, T] each, from one contiguous run of B * T + 1 tokens.

        The stream moves on by B * T: the last target is the next batch's first input, so every token but the very
        first is a target once per pass. To share a batch among ranks, each rank skips the sequences of the ranks
        before it, takes its own, and skips those of the ranks after it.
        """
        start = self.position
        run = torch.from_numpy(self.take(num_sequences * length + 1).astype(np.int64))
        self.position = start
        self.skip(num_sequences * length)
        return run[:-1].view(num_sequences, length), run[1:].view(num_sequences, length)

    def _step_over_ends(self) -> None:
        """Carry an offset beyond the shard's end into the following shards; empty shards are passed over."""
        while self._offset >= len(self._shards[self._shard_index]):
            self._offset -= len(self._shards[self._shard_index])
            self._shard_index = (self._shard_index + 1) % len(self._shards)
