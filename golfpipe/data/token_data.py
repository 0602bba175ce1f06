"""Reading a token_data artifact: its tokenizer and the memory-mapped tokens of a split, checked."""

from __future__ import annotations

import fnmatch
from typing import Literal

import numpy as np

from golfpipe.data.shard_files import open_shard
from golfpipe.data.tokenizer import Tokenizer
from golfpipe.errors import ArtifactError, DataError
from golfpipe.store.artifact import Artifact


def load_tokenizer(data: Artifact) -> Tokenizer:
    """The artifact's tokenizer. Raises ArtifactError or DataError."""
    name = data.manifest.metrics.get("tokenizer_file")
    if not isinstance(name, str):
        raise ArtifactError(f"{data.path}: the manifest names no tokenizer_file")
    return Tokenizer(data.read(name), name=str(data.folder / name))


def load_shards(data: Artifact, split: Literal["train", "val"]) -> list[np.ndarray]:
    """Memory maps of the split's shards in file order, sha256 checked. Raises ArtifactError, or DataError where the
    split is empty."""
    names = sorted(name for name in data.manifest.files if fnmatch.fnmatchcase(name, f"*{split}_*.bin"))
    shards = [open_shard(data.file(name)) for name in names]
    if sum(len(shard) for shard in shards) == 0:
        raise DataError(f"{data.path}: has no {split} tokens", hint="golfpipe data inspect shows what it has")
    return shards


def load_validation(data: Artifact, max_targets: int = 0) -> tuple[np.ndarray, int]:
    """The validation tokens in one uint16 array, cut to `max_targets` + 1 tokens where that is not 0, and the number
    of targets of the whole split."""
    shards = load_shards(data, "val")
    split_targets = sum(len(shard) for shard in shards) - 1
    if split_targets < 1:
        raise DataError(f"{data.path}: one validation token has no target to score")
    wanted = split_targets + 1 if max_targets == 0 else min(max_targets, split_targets) + 1
    if len(shards) == 1:
        return shards[0][:wanted], split_targets
    return np.concatenate(shards)[:wanted], split_targets
