"""The manifest says what an artifact is, what it came from, and what its files must be.

`key` names the work (stage, settings, inputs) and is known before it runs; `digest` names the result. Times, host and
paths are in neither, so that equal work has equal names on every machine.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import PurePosixPath
from typing import Any, Literal

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as checked_dataclass

from golfpipe.errors import ArtifactError
from golfpipe.store.canonical import canonical_json, digest_of, parse_json
from golfpipe.store.recorded_path import well_formed_json

SCHEMA = 2
"""The version of the manifest's form: 2 has a checksum of the manifest itself; 1, without it, is still read."""
MANIFEST_NAME = "manifest.json"
MAX_MANIFEST_BYTES = 32_000_000
"""The most bytes that are read of a manifest: far above any real one, but a bound on the reader's memory."""

Kind = Literal[
    "weights",
    "token_data",
    "trained_model",
    "quantized_model",
    "packed_model",
    "adapted_model",
    "evaluation",
    "partial_evaluation",
    "submission",
]

KIND_VERSIONS: dict[Kind, int] = {
    "weights": 1,
    "token_data": 1,
    "trained_model": 1,
    "quantized_model": 1,
    "packed_model": 1,
    "adapted_model": 1,
    "evaluation": 1,
    "partial_evaluation": 1,
    "submission": 1,
}

_STAGE = re.compile(r"[a-z][a-z-]{0,39}")
"""The pattern of a stage's name, which messages put into commands to copy."""
_STRICT = ConfigDict(extra="forbid", strict=True)


@checked_dataclass(frozen=True, kw_only=True, config=_STRICT)
class InputRef:
    """A reference to an artifact that this one was made from."""

    role: str
    """What the input served as: data, model or evaluation."""
    kind: Kind
    digest: str
    path: str
    """The folder where the input was then. This is a hint only; the digest decides."""


@checked_dataclass(frozen=True, kw_only=True, config=_STRICT)
class FileEntry:
    """One file of the artifact."""

    sha256: str
    bytes: int
    content: bool
    """True if the file is part of the result and the digest; False for a log, checkpoint or picture."""


@checked_dataclass(frozen=True, kw_only=True, config=_STRICT)
class Manifest:
    """Everything about an artifact except its files."""

    schema: int
    kind: Kind
    kind_version: int
    stage: str
    key: str
    digest: str
    config: dict[str, Any]
    """The whole resolved pipeline configuration, from which a later command starts."""
    inputs: tuple[InputRef, ...]
    files: dict[str, FileEntry]
    model: dict[str, Any] | None
    """The architecture, carried forward from train."""
    metrics: dict[str, Any]
    provenance: dict[str, Any]
    location: str | None = None
    """The folder of the files that are not in the artifact's own folder; only token data has one."""
    checksum: str | None = None
    """The sha256 of the canonical JSON of all other fields, which shows damage to any; None in schema 1."""

    def to_json(self) -> bytes:
        return (canonical_json(asdict(self)) + "\n").encode()

    def sealed(self) -> Manifest:
        """Return the same manifest with its checksum, and with its paths in the form of `recorded_path`."""
        whole = _MANIFEST.validate_json(well_formed_json(asdict(self)), strict=True)
        return replace(whole, checksum=_checksum(asdict(whole)))

    @property
    def is_rehearsal(self) -> bool:
        """True for what `run --rehearse` made, and for what was made from that: its numbers are no result."""
        return self.provenance.get("rehearsal") is True

    def input(self, role: str) -> InputRef | None:
        """Return the first input with that role."""
        return next((ref for ref in self.inputs if ref.role == role), None)


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """What a stage returns; `finish` in `artifact` turns it and the files into a manifest."""

    kind: Kind
    metrics: dict[str, Any]
    model: dict[str, Any] | None = None
    provenance: dict[str, Any] = field(default_factory=dict)
    location: str | None = None
    files: tuple[str, ...] | None = None
    """The artifact's files, in a folder that holds others too; None means all of the stage's own folder."""


_MANIFEST = TypeAdapter(Manifest)


@lru_cache(maxsize=64)  # a command that looks around opens each artifact many times, and checking is most of it
def parse_manifest(content: bytes, name: str) -> Manifest:
    """Read and check a manifest. Raises ArtifactError naming `name` and the field."""
    raw = parse_json(content, name)
    manifest = read_fields(well_formed_json(raw), name)
    if result_digest(manifest.kind, manifest.files, manifest.model, manifest.metrics) != manifest.digest:
        raise ArtifactError(
            f"{name}: field digest does not match the files and metrics listed", hint="the manifest was edited"
        )
    if manifest.checksum != (_checksum(raw) if manifest.schema > 1 else None):
        raise ArtifactError(
            f"{name}: field checksum does not match the other fields: the manifest was damaged or edited",
            hint=f"copy it again, or run golfpipe {manifest.stage} again with --force",
        )
    return manifest


def read_fields(content: str | bytes, name: str) -> Manifest:
    """Read a manifest and check its fields, but neither digest nor checksum, which take most of the time. Raises
    ArtifactError naming `name` and the field."""
    try:
        manifest = _MANIFEST.validate_json(content, strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "top level"
        raise ArtifactError(f"{name}: field {where}: {first['msg']}") from error
    if _STAGE.fullmatch(manifest.stage) is None:
        raise ArtifactError(f"{name}: field stage: {manifest.stage[:100]!r} is not the name of a stage")
    if not 1 <= manifest.schema <= SCHEMA or manifest.kind_version != KIND_VERSIONS[manifest.kind]:
        raise ArtifactError(
            f"{name}: schema {manifest.schema}, {manifest.kind} version {manifest.kind_version};"
            f" this golfpipe reads schema 1 to {SCHEMA}, version {KIND_VERSIONS[manifest.kind]}",
            hint=f"run golfpipe {manifest.stage} again with --force",
        )
    for file_name in manifest.files:
        if not is_plain_name(file_name):
            raise ArtifactError(f"{name}: field files: {file_name!r} is not a plain relative name")
    return manifest


def _checksum(fields: dict[str, Any]) -> str:
    return digest_of({key: value for key, value in fields.items() if key != "checksum"})


def is_plain_name(name: str) -> bool:
    """Return True if `name` is a relative path that stays inside its folder."""
    path = PurePosixPath(name)
    return (
        bool(name)
        and not path.is_absolute()
        and "\\" not in name
        and all(p not in ("..", ".") for p in name.split("/"))
        and path.as_posix() == name
    )


def result_digest(
    kind: Kind, files: dict[str, FileEntry], model: dict[str, Any] | None, metrics: dict[str, Any]
) -> str:
    """Return the sha256 over content files, architecture and metrics other than times."""
    return digest_of(
        {
            "kind": kind,
            "version": KIND_VERSIONS[kind],
            "files": {name: entry.sha256 for name, entry in files.items() if entry.content},
            "model": model,
            "metrics": timeless(metrics),
        }
    )


def timeless(metrics: Any) -> Any:
    """Return `metrics` without those of the clock or the machine, told by how their names end."""
    if isinstance(metrics, dict):
        return {
            key: timeless(value)
            for key, value in metrics.items()
            if not key.endswith(("_seconds", "_ms", "_per_second", "_memory_bytes")) and key != "seconds"
        }
    return metrics
