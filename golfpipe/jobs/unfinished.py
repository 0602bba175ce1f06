"""What an interrupted run of a precious stage leaves beside its checkpoint: the key, settings and inputs it began
with. It is written with the first checkpoint: before, there is nothing that another command must not replace."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from golfpipe.config.schema import Plain, plain_config
from golfpipe.errors import ArtifactError
from golfpipe.jobs.job import Job
from golfpipe.store.artifact_writer import ArtifactWriter
from golfpipe.store.canonical import digest_of, parse_json
from golfpipe.store.files import partial_folder
from golfpipe.store.manifest import InputRef

JOB_FILE = "job.json"
"""The file in the partial folder that holds it."""
_FIELDS = {"key": str, "config": dict, "inputs": list}
_HINT = "--force discards it"


@dataclass(frozen=True, kw_only=True)
class Begun:
    """The key, settings and inputs that a run began with."""

    key: str
    config: Plain
    inputs: tuple[InputRef, ...]

    def input(self, role: str) -> InputRef | None:
        return next((reference for reference in self.inputs if reference.role == role), None)


def protect(job: Job, out: ArtifactWriter) -> None:
    """Write down what the run began with. From now on the unfinished folder is kept for the same command, or --resume.

    A stage calls this before each checkpoint. The file has a checksum of its own, since no manifest covers it yet.
    """
    if (out.folder / JOB_FILE).is_file():
        out.path(JOB_FILE, content=False)  # a log of the artifact
        return
    inputs = [asdict(artifact.reference(role)) for role, artifact in job.inputs.items()]
    fields = {"key": job.key, "config": plain_config(job.config), "inputs": inputs}
    out.write(JOB_FILE, json.dumps(fields | {"checksum": digest_of(fields)}).encode(), content=False)


def read_begun(out: Path) -> Begun | None:
    """Return what the interrupted run of `out` began with; None without one. Raises ArtifactError."""
    path = partial_folder(out) / JOB_FILE
    if not path.is_file():
        return None
    raw = parse_json(path.read_bytes(), str(path))
    for name, kind in _FIELDS.items():
        if not isinstance(raw, dict) or not isinstance(raw.get(name), kind):
            raise ArtifactError(f"{path}: field {name} is missing or no {kind.__name__}", hint=_HINT, path=str(path))
    if raw.get("checksum") != digest_of({name: raw[name] for name in _FIELDS}):
        raise ArtifactError(
            f"{path}: field checksum does not match the others: damaged or edited", hint=_HINT, path=str(path)
        )
    try:
        inputs = tuple(InputRef(**reference) for reference in raw["inputs"])
    except (TypeError, ValueError) as error:
        raise ArtifactError(f"{path}: field inputs: {error}", hint=_HINT, path=str(path)) from error
    return Begun(key=raw["key"], config=raw["config"], inputs=inputs)
