"""Fill one field of a finished run with any value, as a stranger would: every checksum is computed again, in all
artifacts that follow."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from reliability.repair import resealed

ORDER = ("data", "train", "quantize", "pack", "ttt", "evaluate-train", "evaluate-quantize", "evaluate-pack",
         "evaluate-ttt", "submit")  # fmt: skip
"""Artifacts from the first to the last, so that digests can be carried on."""

Path_ = tuple[str | int, ...]
Field = tuple[str, tuple[str, ...]]
"""Name of the files that have it, and its path in them, where * stands for every item of a list."""


def fields(run: Path, kinds: type | tuple[type, ...]) -> list[Field]:
    """Every field of every manifest, JSON file and log of the run that holds a value of these kinds; those of all
    artifacts at once."""
    found: dict[Field, None] = {}
    for path in _json_files(run):
        for value in _values(path):
            for place, leaf in _leaves(value):
                if isinstance(leaf, kinds):
                    found[path.name, tuple("*" if isinstance(part, int) else part for part in place)] = None
    return list(found)


def fill(run: Path, field: Field, new: Any) -> None:
    """Write `new` into the field wherever the run has it."""
    name, place = field
    for path in _json_files(run):
        if path.name == name:
            values = [_filled(value, place, new) for value in _values(path)]
            path.write_text("\n".join(json.dumps(value) for value in values) + "\n")
    seal(run, keep=place[0] if name == "manifest.json" and len(place) == 1 else "")


def seal(run: Path, *, keep: str = "") -> None:
    """Compute every sha256, digest and checksum again, but for the field `keep` of the manifests."""
    renamed: dict[str, str] = {}
    for name in ORDER:
        path = run / name / "manifest.json"
        if not path.is_file():
            continue
        manifest = json.loads(path.read_text())
        for file, entry in manifest["files"].items():
            content = (run / name / file).read_bytes()
            if entry["bytes"] != len(content) or file.endswith((".json", ".jsonl")):
                entry |= {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
        for reference in manifest["inputs"]:
            reference["digest"] = renamed.get(reference["digest"], reference["digest"])
        metrics = manifest["metrics"]
        if "model_digest" in metrics:
            metrics["model_digest"] = renamed.get(metrics["model_digest"], metrics["model_digest"])
        sealed = resealed(manifest)
        renamed[manifest["digest"]] = sealed["digest"]
        if keep in ("digest", "checksum"):
            sealed |= {keep: manifest[keep]}
        path.write_text(json.dumps(sealed))


def _json_files(run: Path) -> list[Path]:
    return sorted(path for path in run.rglob("*") if path.suffix in (".json", ".jsonl") and path.is_file())


def _values(path: Path) -> list[Any]:
    text = path.read_text()
    return [json.loads(line) for line in text.splitlines()] if path.suffix == ".jsonl" else [json.loads(text)]


def _leaves(value: Any, place: Path_ = ()) -> Iterator[tuple[Path_, Any]]:
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _leaves(inner, (*place, key))
    else:
        yield place, value


def _filled(value: Any, place: tuple[str, ...], new: Any) -> Any:
    if not place:
        return new
    if isinstance(value, list) and place[0] == "*":
        return [_filled(item, place[1:], new) for item in value]
    if isinstance(value, dict) and place[0] in value:
        return value | {place[0]: _filled(value[place[0]], place[1:], new)}
    return value
