"""Where the data commands find a tokenizer, and where they write. Torch-free: hints ask, too."""

from __future__ import annotations

import stat
from pathlib import Path

from golfpipe.config.resolve import Resolved
from golfpipe.errors import UsageError
from golfpipe.pipeline.single import ARTIFACTS, checked_name

_WRITE_BITS = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH
"""The permission bits themselves are looked at: an administrator could write where they forbid it, and should not."""


def is_read_only(folder: Path) -> bool:
    """Return True for a folder into which nobody may write."""
    return not folder.stat().st_mode & _WRITE_BITS


def tokenized_folder(first: Path, settings: Resolved | None = None) -> Path:
    """Return where `data tokenize` writes by default: a folder named after the first source, and after the vocabulary
    and the transform where they were asked for with --set, so that several of them lie side by side. Raises
    UsageError."""
    parts = [first.resolve().stem or "text"]
    if settings is not None:
        data, origin = settings.config.data, settings.origin
        parts += [str(data.vocab_size)] if data.vocab_size and origin["data.vocab_size"] == "--set" else []
        parts += [data.transform] if data.transform != "none" and origin["data.transform"] == "--set" else []
    return ARTIFACTS / "data" / checked_name("-".join(parts))


def only_tokenizer(folder: Path) -> Path:
    """Return the only *.model file in the folder. Raises UsageError where there is none, or more than one."""
    models = sorted(path for path in folder.glob("*.model") if path.is_file())
    if len(models) != 1:
        found = ", ".join(path.name for path in models) or "no *.model file"
        raise UsageError(
            f"{folder}: which tokenizer? found {found}",
            hint="--tokenizer FILE",
            path=str(folder),
            wanted=("token_data", "shards"),
        )
    return models[0]
