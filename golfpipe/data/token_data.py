"""Read a token_data artifact: its tokenizer, and the tokens of a split, all checked."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence, Sized

import numpy as np

from golfpipe.data.shard_files import ShardFile, Split, open_shard
from golfpipe.data.shard_format import SHARD_TOKEN_DTYPE
from golfpipe.data.tokenizer import Tokenizer
from golfpipe.errors import ArtifactError, DataError
from golfpipe.store.artifact import Artifact, part_of_artifact
from golfpipe.training.config import OnBad
from golfpipe.training.token_stream import TokenSource


def load_tokenizer(data: Artifact) -> Tokenizer:
    """Return the artifact's tokenizer. Raises ArtifactError."""
    name = data.manifest.metrics.get("tokenizer_file")
    if not isinstance(name, str):
        raise ArtifactError(f"{data.path}: the manifest names no tokenizer_file")
    with part_of_artifact():
        return Tokenizer(data.read(name), name=str(data.path_of(name)))


def load_shards(data: Artifact, split: Split) -> list[np.ndarray]:
    """Return memory maps of the split's shards in order, sha256 checked. Raises ArtifactError, DataError if empty."""
    with part_of_artifact():
        shards = [open_shard(data.file(name)) for name in _shard_names(data, split)]
    _check_not_empty(data, split, shards)
    return shards


def _shard_names(data: Artifact, split: Split) -> list[str]:
    return sorted(name for name in data.manifest.files if fnmatch.fnmatchcase(name, f"*{split}_*.bin"))


def _check_not_empty(data: Artifact, split: Split, shards: Sequence[Sized]) -> None:
    if sum(len(shard) for shard in shards) == 0:
        raise DataError(f"{data.path}: has no {split} tokens", hint="golfpipe data inspect shows what it has")


def load_training_shards(data: Artifact, on_bad_shard: OnBad) -> tuple[list[TokenSource], dict[str, str]]:
    """Return the train shards in file order, with sha256 checked, and for each skipped one what is wrong with it.

    A skipped shard has no tokens but keeps its place, so that a position in the stream means the same when it comes
    back. Raises as `load_shards` does, also ArtifactError for a bad shard where `on_bad_shard` is stop.
    """
    shards: list[TokenSource] = []
    bad: dict[str, str] = {}
    for name in _shard_names(data, "train"):
        try:
            with part_of_artifact():
                shards.append(ShardFile(data.file(name)))
        except ArtifactError as error:
            if on_bad_shard == "stop":
                raise ArtifactError(
                    error.message,
                    hint="bring the file back as it was; train.on_bad_shard=skip goes on without it",
                    path=error.path,
                ) from error
            shards.append(np.empty(0, dtype=SHARD_TOKEN_DTYPE))
            bad[name] = error.message
    _check_not_empty(data, "train", shards)
    return shards, bad


def load_validation(data: Artifact, max_targets: int = 0) -> tuple[np.ndarray, int]:
    """Return the validation tokens in one uint16 array, cut to `max_targets` + 1 tokens where that is not 0, and the
    number of targets of the whole split. Raises as `load_shards` does."""
    shards = load_shards(data, "val")
    split_targets = sum(len(shard) for shard in shards) - 1
    if split_targets < 1:
        raise DataError(f"{data.path}: one validation token has no target to score")
    wanted = split_targets + 1 if max_targets == 0 else min(max_targets, split_targets) + 1
    if len(shards) == 1:
        return shards[0][:wanted], split_targets
    return np.concatenate(shards)[:wanted], split_targets
