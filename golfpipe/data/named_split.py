"""Text files whose names say which split they are: `train.jsonl` beside `val.jsonl`, `train/` beside `validation/`."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from golfpipe.data.shard_format import Split

_WORDS: dict[str, Split] = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val"
}  # fmt: skip


def files_by_split(files: Sequence[Path]) -> dict[Split, list[Path]] | None:
    """Return the files of each split; None unless there are files of both names.

    A word of the file's own name decides, else one of the name of the folder that it lies in, but not that of a folder
    in which all of them lie. Files without such a word, as a `test.jsonl` beside them, are in neither split.
    """
    found: dict[Split, list[Path]] = {"train": [], "val": []}
    folders = [path.absolute().parent for path in files]
    around_all = Path(os.path.commonpath(folders)) if folders else None
    for path, folder in zip(files, folders, strict=True):
        split = _named(path.name) or (_named(folder.name) if folder != around_all else None)
        if split is not None:
            found[split].append(path)
    return found if found["train"] and found["val"] else None


def _named(name: str) -> Split | None:
    """Return the split that a word of the name says; None where none does, or where words say both."""
    splits = {_WORDS[word] for word in re.split("[^a-z]+", name.lower()) if word in _WORDS}
    return splits.pop() if len(splits) == 1 else None
