"""What the data commands read: files as the stage's arguments, their digest for the key, and where the result goes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from golfpipe.config.resolve import Resolved
from golfpipe.data.challenge_split import split_sentence
from golfpipe.data.inspect import SplitInspection, inspect_shards, list_sidecars
from golfpipe.data.named_split import files_by_split
from golfpipe.data.overlap import Overlap, find_overlap
from golfpipe.data.shard_files import ShardFile, list_shards
from golfpipe.data.shard_format import SPLITS, Split
from golfpipe.data.text_files import find_text_files, text_kind
from golfpipe.data.token_data import load_tokenizer
from golfpipe.data.tokenizer import Tokenizer
from golfpipe.errors import ArtifactError, DataError, UsageError
from golfpipe.machine.devices import cpu_count
from golfpipe.pipeline.data_places import is_read_only, only_tokenizer, tokenized_folder
from golfpipe.pipeline.single import ARTIFACTS, checked_name
from golfpipe.pipeline.text_digest import files_digest
from golfpipe.store.artifact import Artifact, open_artifact, part_of_artifact, try_open
from golfpipe.store.manifest import MANIFEST_NAME


def tokenize_arguments(
    sources: Sequence[Path],
    *,
    tokenizer: Path | None,
    separator: str | None,
    processes: int | None,
    name: str | None,
    settings: Resolved | None = None,
) -> tuple[dict[str, Any], str, Path]:
    """Arguments, their digest and the output of `data tokenize`, by default a folder that is named for the settings.
    Raises DataError."""
    found = find_text_files(sources)
    files = found.files
    named = files_by_split(files)
    names = [] if named is None else [f"{split} {files.index(path)}" for split in SPLITS for path in named[split]]
    contents = [*files, *([tokenizer] if tokenizer is not None else [])]
    digest = files_digest(contents, separator, _suffixes(files), *names)
    arguments = {
        "sources": tuple(sources),
        "files": files,
        "named": named,
        "left_out": found.left_out,
        "tokenizer": tokenizer,
        "separator": separator,
        "processes": processes or cpu_count(),
    }
    folder = ARTIFACTS / "data" / checked_name(name) if name else tokenized_folder(sources[0], settings)
    return arguments, digest, folder


def add_arguments(folder: Path, tokenizer: Path | None, out: Path | None) -> tuple[dict[str, Any], str]:
    """Return the arguments of `data add` and their digest. Raises UsageError, DataError."""
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder", path=str(folder), wanted=("shards",))
    shards = [path for split in SPLITS for path in list_shards(folder, split)]
    if not shards:
        raise DataError(f"{folder}: holds no shard (*train_*.bin, *val_*.bin)", path=str(folder), wanted=("shards",))
    for split in SPLITS:
        shards += list_sidecars(list_shards(folder, split), split)
    model = tokenizer if tokenizer is not None else only_tokenizer(folder)
    in_place = out is None or out.resolve() == folder.resolve()
    if in_place and is_read_only(folder):
        raise UsageError(
            f"{folder}: is read-only, and the manifest would be written into it",
            hint=f"-o artifacts/data/{folder.resolve().name} writes an artifact elsewhere that points to it",
            path=str(folder),
        )
    existing = try_open(folder) if in_place else None
    if existing is not None and existing.manifest.stage != "data-add":
        raise UsageError(
            f"{folder}: is a {existing.manifest.kind} artifact already", path=str(folder), wanted=("shards",)
        )
    digest = files_digest([*shards, model], *(path.name for path in shards), model.name)
    return {"folder": folder, "tokenizer": model, "in_place": in_place}, digest


def inspect_data(
    folder: Path, tokenizer: Path | None
) -> tuple[Artifact | None, Tokenizer, dict[Split, SplitInspection]]:
    """Inspect token data, or a folder of shards with a tokenizer. Return artifact (or None), tokenizer and splits.

    The sha256 of every file of an artifact is checked, too. Raises UsageError, DataError, ArtifactError.
    """
    if (folder / MANIFEST_NAME).is_file() or not folder.is_dir():
        artifact = open_artifact(folder, "token_data")
        if not artifact.folder.is_dir():
            raise ArtifactError(f"{folder / MANIFEST_NAME}: field location: {artifact.folder} is no folder")
        for name in artifact.manifest.files:
            artifact.file(name)
        if tokenizer is not None:  # a wrong tokenizer on the command line does not mean that the artifact is damaged
            model = Tokenizer.load(tokenizer)
            return artifact, model, inspect_shards(artifact.folder, model)
        model = load_tokenizer(artifact)
        with part_of_artifact():
            return artifact, model, inspect_shards(artifact.folder, model)
    model = Tokenizer.load(tokenizer if tokenizer is not None else only_tokenizer(folder))
    return None, model, inspect_shards(folder, model)


def known_split(splits: Mapping[Split, SplitInspection], vocab_size: int) -> str | None:
    """Say how much of the challenge's validation split the data has, if it is that by its name."""
    val = splits.get("val")
    if val is None:
        return None
    return split_sentence(val.shards[0].path.name, val.tokens - 1, val.bytes, vocab_size)


def split_overlap(splits: Mapping[Split, SplitInspection], bos_id: int) -> tuple[Overlap, dict[str, int]]:
    """Look for validation documents in the training shards; also return names of shards -> documents found there.

    Raises UsageError where a split is missing.
    """
    if len(splits) < len(SPLITS):
        raise UsageError(f"--overlap compares two splits, and this data has only {', '.join(splits)}")
    train, val = ([ShardFile(shard.path) for shard in splits[split].shards] for split in SPLITS)
    found = find_overlap(train, val, bos_id)
    names = [shard.path.name for shard in splits["train"].shards]
    return found, {names[number]: count for number, count in sorted(found.by_shard.items())}


def _suffixes(files: Sequence[Path]) -> str:
    """The suffix says how a file is read, so it is part of the key."""
    return " ".join(text_kind(path) for path in files)
