"""Batches of tokens from many shards, as one endless stream. This module sees arrays; files are opened elsewhere."""

# Shapes: B sequences, T tokens per sequence

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch

from golfpipe.errors import DataError


class TokenSource(Protocol):
    """The tokens of one shard: an array, or a file that is read in slices."""

    def __len__(self) -> int: ...

    def __getitem__(self, part: slice, /) -> np.ndarray: ...


class TokenStream:
    """The tokens of all shards in file order, starting again at the first shard after the last.

    `position` is the next token's place, (shard index, offset in that shard): save it with a checkpoint, assign it to
    resume. Only the tokens asked for are copied, so the shards may be memory maps of any size.
    """

    def __init__(self, shards: Sequence[TokenSource]) -> None:
        """Start at the first token. `shards` are or give uint16 arrays. Raises DataError if they hold no token."""
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
        """Move to a position. Raises DataError if these shards do not have it."""
        shard_index, offset = position
        if not (0 <= shard_index < len(self._shards) and 0 <= offset < len(self._shards[shard_index])):
            raise DataError(
                f"data position (shard {shard_index}, offset {offset}) lies outside the {len(self._shards)} shards",
                hint="the checkpoint belongs to other data",
            )
        self._shard_index, self._offset = shard_index, offset

    def take(self, num_tokens: int) -> np.ndarray:
        """Return the next `num_tokens` tokens as a new uint16 array, and move past them."""
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

    def span(self, start: int, stop: int) -> np.ndarray:
        """Return the tokens from `start` to before `stop`, or to the end; the stream moves behind them."""
        self._shard_index = self._offset = 0
        self.skip(start)
        return self.take(min(stop, self.num_tokens) - start)

    def skip(self, num_tokens: int) -> None:
        """Move on by `num_tokens` tokens (0 or more) without reading them."""
        assert num_tokens >= 0
        self._offset += num_tokens % self.num_tokens
        self._step_over_ends()

    def next_batch(self, num_sequences: int, length: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return inputs and targets, int64 [B, T] each, from one contiguous run of B * T + 1 tokens.

        The stream moves on by B * T: the last target is the next batch's first input, so every token but the very first
        is a target once per pass over the data. To share a batch among ranks, each rank skips the sequences of the
        ranks before it, takes its own, and skips those of the ranks after it.
        """
        start = self.position
        run = torch.from_numpy(self.take(num_sequences * length + 1).astype(np.int64))
        self.position = start
        self.skip(num_sequences * length)
        return run[:-1].view(num_sequences, length), run[1:].view(num_sequences, length)

    def _step_over_ends(self) -> None:
        """Carry an offset beyond the shard's end into the following shards, passing over empty ones."""
        while self._offset >= len(self._shards[self._shard_index]):
            self._offset -= len(self._shards[self._shard_index])
            self._shard_index = (self._shard_index + 1) % len(self._shards)
