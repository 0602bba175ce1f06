"""What lies at a path: an artifact, a run, text, shards, a checkpoint, or nothing that golfpipe reads."""

from __future__ import annotations

import codecs
from dataclasses import dataclass
from pathlib import Path

from golfpipe.data.shard_files import list_shards
from golfpipe.data.shard_format import SPLITS
from golfpipe.data.text_files import COMPRESSED_SUFFIXES, TEXT_SUFFIXES, text_kind
from golfpipe.records.folder import is_records_folder
from golfpipe.report.run_data import swept_sort
from golfpipe.store.artifact import Artifact, try_open
from golfpipe.store.files import partial_folder
from golfpipe.store.manifest import Kind
from golfpipe.store.search import find_all, visible_children

_MOST_TEXT = 4096
"""The bytes of a file that tell whether it is text."""
_TEXT_DEPTH, _MOST_FOLDERS = 4, 200
"""The levels of folders in which text is looked for, and the folders of a level."""


@dataclass(frozen=True, kw_only=True)
class Sight:
    """What lies at a path."""

    path: Path
    what: str
    """In words, with an article: "a folder of texts"."""
    sort: str | None
    """The sort of thing; None for nothing that golfpipe reads."""
    artifact: Artifact | None = None


def look(path: Path) -> Sight:
    """Say what lies at the path. Raises OSError where it cannot be looked at."""
    artifact = try_open(path)
    if artifact is not None:
        kind = artifact.manifest.kind
        return Sight(path=path, what=_in_words(kind), sort=kind, artifact=artifact)
    if path.is_file():
        sort, what = _file_sort(path)
    elif path.is_dir():
        sort, what = _folder_sort(path)
    elif partial_folder(path).is_dir():
        sort, what = "unfinished", "an interrupted step"
    else:
        sort, what = None, "nothing"
    return Sight(path=path, what=what, sort=sort)


def _file_sort(path: Path) -> tuple[str | None, str]:
    with path.open("rb") as stream:
        start = stream.read(_MOST_TEXT)
    if start.startswith(b"PK") and path.suffix in (".pt", ".pth", ".ckpt", ".bin"):
        return "checkpoint", "a checkpoint of torch.save"
    if path.suffix in COMPRESSED_SUFFIXES or _is_text(start):
        return "text", "a text file"
    return None, "a file that is no text"


def _is_text(start: bytes) -> bool:
    """Return True for the beginning of UTF-8 text. Its last character may be cut."""
    try:
        codecs.utf_8_decode(start, "strict", False)
    except UnicodeDecodeError:
        return False
    return b"\0" not in start


def _folder_sort(path: Path) -> tuple[str | None, str]:
    if any(list_shards(path, split) for split in SPLITS):
        return "shards", "a folder of shards"
    swept = swept_sort(path)
    if swept is not None:
        return swept, "a sweep" if swept == "sweep" else "a plan, which its own command shows again"
    children = visible_children(path)
    if any(try_open(child) is not None for child in children) or any(path.glob(".*.partial")):
        return "run", "a run"
    if is_records_folder(path):
        return "records", "a records folder"
    if next(find_all(path, depth=3), None) is not None:
        return "runs", "a folder of runs"
    if _holds_text(path):
        return "text", "a folder of texts"
    return None, "an empty folder" if next(path.iterdir(), None) is None else "a folder that holds none of that"


def _holds_text(root: Path) -> bool:
    """Return True if there is a text file in the folder, or not far below: a home folder is not searched as a whole."""
    level = [root]
    for _ in range(_TEXT_DEPTH):
        level = level[:_MOST_FOLDERS]
        if any(text_kind(path) in TEXT_SUFFIXES for folder in level for path in folder.iterdir() if path.is_file()):
            return True
        level = [child for folder in level for child in visible_children(folder)]
    return False


def _in_words(kind: Kind) -> str:
    words = kind.replace("_", " ")
    return words if kind in ("token_data", "weights") else f"{'an' if words[0] in 'aeiou' else 'a'} {words}"
