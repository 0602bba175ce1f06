"""Fill one field of a finished run with any value, or give it another name, as a stranger would: every checksum is
computed again, in all artifacts that follow."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from golfpipe.store.manifest import MANIFEST_NAME
from reliability.repair import resealed

_SUFFIXES = (".json", ".jsonl", ".lock")
_STAGES = "stages.yaml"

Path_ = tuple[str | int, ...]
Field = tuple[str, tuple[str, ...]]
"""Name of the files that have it, and its path in them, where * stands for every item of a list."""


def fields(run: Path, kinds: type | tuple[type, ...]) -> list[Field]:
    """Every field of every manifest, JSON file, log, lock and stages.yaml below `run` that holds a value of these
    kinds; those of all artifacts at once."""
    found: dict[Field, None] = {}
    for path in _files(run):
        for value in _values(path):
            for place, inner in _inner(value):
                if place and isinstance(inner, kinds):
                    found[path.name, _general(place)] = None
    return list(found)


def names(run: Path) -> list[Field]:
    """Every field by its name: what fields() finds, and the fields that hold others."""
    found: dict[Field, None] = {}
    for path in _files(run):
        for value in _values(path):
            for place, _ in _inner(value):
                if place and isinstance(place[-1], str):
                    found[path.name, _general(place)] = None
    return list(found)


def is_file_name(field: Field) -> bool:
    """Whether the field's name is that of a file."""
    name, place = field
    return name == MANIFEST_NAME and place[0] == "files" and len(place) == 2


def fill(run: Path, field: Field, new: Any) -> None:
    """Write `new` into the field wherever the run has it."""
    name, place = field
    _change(run, name, lambda value: _filled(value, place, new))
    seal(run, keep=place[0] if name == MANIFEST_NAME and len(place) == 1 else "")


def rename(run: Path, field: Field, new: str) -> None:
    """Call the field `new` wherever the run has it; a file that a manifest lists under that name, too."""
    name, place = field
    for path in _files(run) if is_file_name(field) else ():
        if path.name == name and (path.parent / place[1]).is_file():
            (path.parent / place[1]).rename(path.parent / new)
    _change(run, name, lambda value: _renamed(value, place, new))
    seal(run)


def seal(run: Path, *, keep: str = "") -> None:
    """Compute every sha256, digest and checksum again, but for the field `keep` of the manifests."""
    renamed: dict[str, str] = {}
    for path in _in_order(run):
        manifest = _replaced(json.loads(path.read_text()), renamed)
        before = manifest.get("digest")
        try:
            for file, entry in manifest["files"].items():
                content = (path.parent / file).read_bytes() if (path.parent / file).is_file() else b""
                if content and (entry["bytes"] != len(content) or file.endswith(_SUFFIXES)):
                    entry |= {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
            sealed = resealed(manifest)
        except (KeyError, TypeError, AttributeError, OSError, ValueError):  # a field that a manifest must have is gone
            continue
        renamed[before] = sealed["digest"]
        if keep in ("digest", "checksum"):
            sealed |= {keep: manifest[keep]}
        path.write_text(json.dumps(sealed))


def _in_order(run: Path) -> list[Path]:
    """The manifests, each after those of its inputs, so that digests can be carried on."""
    waiting = {path: path.read_text() for path in sorted(run.rglob(MANIFEST_NAME))}
    digests = {path: json.dumps(json.loads(text).get("digest")) for path, text in waiting.items()}
    ordered: list[Path] = []
    while waiting:
        ready = [
            path for path, text in waiting.items()
            if not any(digests[other] in text for other in waiting if digests[other] != digests[path])
        ]  # fmt: skip
        for path in ready or list(waiting):
            ordered.append(path)
            del waiting[path]
    return ordered


def _change(run: Path, name: str, change: Any) -> None:
    for path in _files(run):
        if path.name == name:
            values = [change(value) for value in _values(path)]
            if name == _STAGES:
                path.write_text(yaml.safe_dump(values[0], sort_keys=False, allow_unicode=True))
            else:
                path.write_text("\n".join(json.dumps(value) for value in values) + "\n")


def _files(run: Path) -> list[Path]:
    return sorted(
        path for path in run.rglob("*") if (path.suffix in _SUFFIXES or path.name == _STAGES) and path.is_file()
    )


def _values(path: Path) -> list[Any]:
    text = path.read_text()
    if path.name == _STAGES:
        return [yaml.load(text, yaml.CSafeLoader)]
    return [json.loads(line) for line in text.splitlines()] if path.suffix == ".jsonl" else [json.loads(text)]


def _general(place: Path_) -> tuple[str, ...]:
    return tuple("*" if isinstance(part, int) else part for part in place)


def _inner(value: Any, place: Path_ = ()) -> Iterator[tuple[Path_, Any]]:
    """Every value inside, and where it is."""
    yield place, value
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _inner(inner, (*place, key))


def _filled(value: Any, place: tuple[str, ...], new: Any) -> Any:
    if not place:
        return new
    if isinstance(value, list) and place[0] == "*":
        return [_filled(item, place[1:], new) for item in value]
    if isinstance(value, dict) and place[0] in value:
        return value | {place[0]: _filled(value[place[0]], place[1:], new)}
    return value


def _renamed(value: Any, place: tuple[str, ...], new: str) -> Any:
    if isinstance(value, list) and place[0] == "*":
        return [_renamed(item, place[1:], new) for item in value]
    if isinstance(value, dict) and place[0] in value:
        if len(place) == 1:
            return {new if key == place[0] else key: inner for key, inner in value.items()}
        return value | {place[0]: _renamed(value[place[0]], place[1:], new)}
    return value


def _replaced(value: Any, texts: dict[str, str]) -> Any:
    """The value with other texts in place of those in `texts`."""
    if isinstance(value, dict):
        return {key: _replaced(inner, texts) for key, inner in value.items()}
    if isinstance(value, list):
        return [_replaced(inner, texts) for inner in value]
    return texts.get(value, value) if isinstance(value, str) else value
