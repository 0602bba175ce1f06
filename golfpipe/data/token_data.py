"""Reading a token_data artifact: its tokenizer, and the tokens of a split, checked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Sized
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from golfpipe.data.shard_files import ShardFile
from golfpipe.data.shard_format import SHARD_TOKEN_DTYPE, Split, is_shard, sidecar_name
from golfpipe.data.tokenizer import Tokenizer
from golfpipe.errors import ArtifactError, DataError
from golfpipe.scoring.byte_table import scored_bytes
from golfpipe.scoring.documents import document_starts
from golfpipe.scoring.windows import Window, gathered, moved_together, spread_windows
from golfpipe.store.artifact import Artifact, part_of_artifact
from golfpipe.training.config import OnBad
from golfpipe.training.token_stream import TokenSource, TokenStream


def load_tokenizer(data: Artifact) -> Tokenizer:
    """Return the artifact's tokenizer. Raises ArtifactError."""
    name = data.manifest.metrics.get("tokenizer_file")
    if not isinstance(name, str):
        raise ArtifactError(f"{data.path}: the manifest names no tokenizer_file")
    with part_of_artifact():
        return Tokenizer(data.read(name), name=str(data.path_of(name)))


def load_shards(data: Artifact, split: Split) -> list[ShardFile]:
    """Return the split's shards in file order, sha256 checked. Raises ArtifactError, or DataError where the split is
    empty."""
    with part_of_artifact():
        shards = [ShardFile(data.file(name)) for name in _shard_names(data, split)]
    _check_not_empty(data, split, shards)
    return shards


def load_training_shards(data: Artifact, on_bad_shard: OnBad) -> tuple[list[TokenSource], dict[str, str]]:
    """Return the train shards in file order, sha256 checked, and name -> what is wrong with it of those that are
    skipped.

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


@dataclass(frozen=True, slots=True)
class ValidationText:
    """What is scored."""

    tokens: np.ndarray
    """uint16 [N + 1]"""
    sizes: np.ndarray
    """Bytes of text that each target stands for, integers [N]. Target i is token i + 1."""
    split_targets: int
    """Targets of the whole split."""
    from_sidecar: bool
    """The sizes are those of files beside the shards, not counted by the tokenizer's table."""


@dataclass(frozen=True, slots=True)
class ValidationSample:
    """Windows of the validation split, put together."""

    tokens: np.ndarray
    """uint16 [M + 1]"""
    sizes: np.ndarray
    """Bytes of text that each target stands for, integers [M]."""
    windows: list[Window]
    """Places in `tokens`; between two of them is a target that is in neither."""


def load_validation(data: Artifact, tokenizer: Tokenizer, max_targets: int = 0) -> ValidationText:
    """Return the first `max_targets` targets of the validation split, or all of them for 0.

    Only the shards that hold them are read, and their sha256 checked. Raises ArtifactError, and DataError where the
    split has no target or its bytes are not known.
    """
    names = _shard_names(data, "val")
    split_targets = _val_targets(data, names)
    num_targets = min(max_targets, split_targets) if max_targets else split_targets
    with part_of_artifact():
        tokens = _first_tokens(data, names, num_targets + 1)
        sidecars = _sidecar_names(data, names)
        counted = _first_tokens(data, sidecars, num_targets + 1) if sidecars else None
        sizes = _sizes(data, tokenizer, tokens, counted)
    return ValidationText(tokens, sizes, split_targets, bool(sidecars))


def validation_bytes(data: Artifact, max_bytes: int) -> bytes | None:
    """Return the beginning of the validation split as text, of at most `max_bytes` bytes: what its tokens decode to,
    document after document. None where the scored bytes are those of another text than that, before a normalization.

    Raises as `load_validation`.
    """
    tokenizer = load_tokenizer(data)
    text = load_validation(data, tokenizer, max_bytes)
    if not np.array_equal(text.sizes, tokenizer.sizes(text.tokens)):
        return None
    whole = int(np.searchsorted(np.cumsum(text.sizes, dtype=np.int64), max_bytes, side="right"))
    tokens = text.tokens[: whole + 1]
    starts = document_starts(tokens, tokenizer.bos_id).tolist()
    documents = (tokens[start:end] for start, end in pairwise([*starts, len(tokens)]))
    return "".join(tokenizer.decode(ids, cut=True) for ids in documents).encode()[:max_bytes]


def load_windows(data: Artifact, tokenizer: Tokenizer, context_length: int, max_targets: int) -> ValidationSample:
    """Return windows from everywhere in the validation split, see `spread_windows`. Raises as `load_validation`."""
    names = _shard_names(data, "val")
    windows = spread_windows(_val_targets(data, names), context_length, max_targets)
    with part_of_artifact():
        tokens = _gathered(data, names, windows)
        sidecars = _sidecar_names(data, names)
        sizes = _sizes(data, tokenizer, tokens, _gathered(data, sidecars, windows) if sidecars else None)
    return ValidationSample(tokens, sizes, list(moved_together(windows)))


def _sizes(data: Artifact, tokenizer: Tokenizer, tokens: np.ndarray, counted: np.ndarray | None) -> np.ndarray:
    """Return the bytes of each target. Raises ArtifactError naming the data."""
    try:
        return scored_bytes(tokenizer.byte_table, tokens, counted)
    except DataError as error:
        raise ArtifactError(f"{data.path}: {error.message}", hint=error.hint, path=str(data.path)) from error


def _val_targets(data: Artifact, names: Sequence[str]) -> int:
    """Return the number of targets of the validation shards, by their headers."""
    with part_of_artifact():
        shards = [ShardFile(data.path_of(name)) for name in names]
    _check_not_empty(data, "val", shards)
    targets = sum(len(shard) for shard in shards) - 1
    if targets < 1:
        raise DataError(f"{data.path}: one validation token has no target to score")
    return targets


def _first_tokens(data: Artifact, names: Iterable[str], num_tokens: int) -> np.ndarray:
    """Return so many tokens; only the shards that hold them are read, and their sha256 checked."""
    shards: list[ShardFile] = []
    for name in names:
        if sum(len(shard) for shard in shards) < num_tokens:
            shards.append(ShardFile(data.file(name)))
    return TokenStream(shards).take(num_tokens)


def _gathered(data: Artifact, names: Iterable[str], windows: Sequence[Window]) -> np.ndarray:
    return gathered(TokenStream([ShardFile(data.file(name)) for name in names]), windows)


def _sidecar_names(data: Artifact, shard_names: Sequence[str]) -> list[str]:
    """Return the names of the sidecars of validation shards, all or none. Raises ArtifactError for some."""
    names = [name for shard in shard_names if (name := sidecar_name(shard, "val")) in data.manifest.files]
    if names and len(names) < len(shard_names):
        raise ArtifactError(f"{data.path}: {len(names)} of {len(shard_names)} validation shards have a sidecar")
    return names


def _shard_names(data: Artifact, split: Split) -> list[str]:
    return sorted(name for name in data.manifest.files if is_shard(name, split))


def _check_not_empty(data: Artifact, split: Split, shards: Sequence[Sized]) -> None:
    if sum(len(shard) for shard in shards) == 0:
        raise DataError(
            f"{data.path}: has no {split} tokens", hint=f"this shows what it has: golfpipe data inspect {data.path}"
        )
