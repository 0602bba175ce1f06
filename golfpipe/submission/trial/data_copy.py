"""A copy of the token data whose validation shard holds the text on trial.

Whoever opens the validation path during an experiment finds there what is scored, altered tokens included. Training
shards stay where they are, and the copy names that place, so that a method that reads them is seen doing it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from golfpipe.data.shard_files import ShardFile
from golfpipe.data.shard_format import SHARD_TOKEN_DTYPE, Split, is_shard, shard_header
from golfpipe.data.token_data import ValidationText, load_tokenizer, load_validation
from golfpipe.store.artifact import Artifact
from golfpipe.store.manifest import MANIFEST_NAME, FileEntry, result_digest
from golfpipe.submission.trial.scorer import OnScored, Score, Scorer, Trial


def split_files(data: Artifact, split: Split) -> list[str]:
    """Return the names of a split's shards, in order."""
    return sorted(name for name in data.manifest.files if is_shard(name, split))


def copy_data(data: Artifact, folder: Path, max_targets: int) -> ValidationText:
    """Make the copy in the new `folder`, with the first `max_targets` targets of the validation split, or all of them
    for 0, and return these. Raises ArtifactError."""
    original = load_validation(data, load_tokenizer(data), max_targets)
    tokenizer = data.manifest.metrics["tokenizer_file"]
    kept = [tokenizer, *split_files(data, "val")[:1], *split_files(data, "train")]
    for name in kept[:2]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / tokenizer).write_bytes(data.read(tokenizer))
    files = {name: data.manifest.files[name] for name in kept}
    # Without the long settings of the tokenization, which nobody reads there: the manifest is written at every scoring.
    manifest = replace(data.manifest, files=files, location=str(data.folder.resolve()), config={}, provenance={})
    DataCopy(Artifact(folder, manifest)).place(original.tokens)
    return original


class DataCopy:
    """Token data that takes one validation text after the other."""

    def __init__(self, data: Artifact) -> None:
        self._data = data
        self._name = split_files(data, "val")[0]

    def text(self) -> np.ndarray:
        """Return the tokens of the validation shard, apart from the file, which may get others."""
        return ShardFile(self._data.path / self._name)[:]

    def place(self, tokens: np.ndarray) -> None:
        """Put another text at the validation path, with a manifest that fits it."""
        content = shard_header(len(tokens)) + np.ascontiguousarray(tokens, dtype=SHARD_TOKEN_DTYPE).tobytes()
        entry = FileEntry(sha256=hashlib.sha256(content).hexdigest(), bytes=len(content), content=True)
        before = self._data.manifest
        files = before.files | {self._name: entry}
        digest = result_digest(before.kind, files, before.model, before.metrics)
        _replace(self._data.path / self._name, content)
        _replace(self._data.path / MANIFEST_NAME, replace(before, files=files, digest=digest).sealed().to_json())


def on_file(scorer: Scorer, data: DataCopy) -> Scorer:
    """Return the scorer with every text that it is asked about placed at the validation path before."""
    return cast(Scorer, _OnFile(scorer, data))


class _OnFile:
    def __init__(self, scorer: Scorer, data: DataCopy) -> None:
        self._scorer, self._data = scorer, data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._scorer, name)

    def score(self, tokens: np.ndarray, on_scored: OnScored) -> np.ndarray:
        return self._placed(self._scorer.score)(tokens, on_scored)

    def order(self, tokens: np.ndarray) -> np.ndarray:
        if self._scorer.ordered:  # else nothing is asked that could read the file
            self._data.place(tokens)
        return self._scorer.order(tokens)

    def probabilities(self, tokens: np.ndarray, targets: np.ndarray) -> np.ndarray | None:
        self._data.place(tokens)
        return self._scorer.probabilities(tokens, targets)

    def trials(self) -> Sequence[Trial]:
        return [replace(trial, score=self._placed(trial.score)) for trial in self._scorer.trials()]

    def _placed(self, score: Score) -> Score:
        def placed(tokens: np.ndarray, on_scored: OnScored) -> np.ndarray:
            self._data.place(tokens)
            return score(tokens, on_scored)

        return placed


def _replace(path: Path, content: bytes) -> None:
    """Write another file under the name: a map of the one before stays what it was. That one is removed before, since
    file systems write to disk at once what a renamed file replaces, and this comes hundreds of times."""
    new = path.with_name(f".{path.name}.new")
    new.write_bytes(content)
    path.unlink(missing_ok=True)
    os.replace(new, path)
