"""The token shard format (docs/file-formats.md) as functions of bytes. Files are opened elsewhere.

A shard is 256 little-endian int32 (magic 20240520, version 1, number of tokens, zeros) followed by that many
little-endian uint16 tokens.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from golfpipe.errors import DataError

SHARD_MAGIC = 20240520
SHARD_VERSION = 1
SHARD_HEADER_BYTES = 256 * 4
SHARD_TOKEN_DTYPE = np.dtype("<u2")
SHARD_MAX_TOKENS = 2**31 - 1
"""The most tokens of a shard, whose number is one int32."""

SIDECAR_TOLERANCE = 0.01
"""Share of bytes in which a sidecar and the byte table may differ: normalization changes some characters, no more."""

Split = Literal["train", "val"]
SPLITS: tuple[Split, Split] = ("train", "val")


def is_shard(name: str, split: Split) -> bool:
    """Return True if a file of this name holds tokens of the split: `val_000000.bin`, `fineweb_val_000000.bin`, ...

    `fineweb_val_bytes_000000.bin` is no shard but a sidecar, see `sidecar_name`.
    """
    return name.endswith(".bin") and f"{split}_" in name and f"{split}_bytes_" not in name


def sidecar_name(shard_name: str, split: Split) -> str:
    """Return the name of the file beside a shard that says how many bytes of the original text each token stands for.

    It has the format of a shard, with a number of bytes in place of each token. Text that was transformed before it
    became tokens has such files, because its own bytes are not those of the original.
    """
    before, _, after = shard_name.rpartition(f"{split}_")
    return f"{before}{split}_bytes_{after}"


def shard_header(num_tokens: int) -> bytes:
    """Return the 1024 header bytes of a shard of `num_tokens` tokens. Raises DataError if that are too many."""
    if not 0 <= num_tokens <= SHARD_MAX_TOKENS:
        raise DataError(f"a shard holds 0..{SHARD_MAX_TOKENS} tokens, not {num_tokens}")
    fields = np.zeros(256, dtype="<i4")
    fields[:3] = SHARD_MAGIC, SHARD_VERSION, num_tokens
    return fields.tobytes()


def parse_shard_header(header: bytes, file_size: int, name: str) -> int:
    """Return the number of tokens of the shard `name`, whose file has `file_size` bytes and starts with `header`.

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
