"""The way out for an artifact whose files are no longer what its manifest says: the command that makes it again."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path

from golfpipe.config.resolve import flatten
from golfpipe.errors import ArtifactError, GolfpipeError
from golfpipe.jobs.key import relevant_config
from golfpipe.jobs.registry import STAGES, Stage
from golfpipe.pipeline.settings import Settings
from golfpipe.pipeline.single import Request, prepare
from golfpipe.store.artifact import Artifact, try_open
from golfpipe.store.manifest import MANIFEST_NAME
from golfpipe.store.search import find_artifact
from golfpipe.sweeps.grid import override_texts
from golfpipe.sweeps.words import step_words


def way_out(artifact: Artifact) -> str:
    """Say how a damaged artifact comes to be whole again."""
    command = remake_command(artifact)
    if command is not None:
        return f"this makes it again, the same to the byte: {command}"
    if artifact.manifest.kind == "trained_model" and artifact.manifest.stage == "train":
        return "bring the file back from a copy: only training again, with --force, makes this model anew"
    return "bring the file back from a copy, or run the command that made it again with --force"


def remake_command(artifact: Artifact) -> str | None:
    """Return the command that makes an artifact again from its inputs and with its own settings, without training.

    None where there is none, or where the inputs are gone. The command's job has the artifact's own key.
    """
    stage = STAGES.get(artifact.manifest.stage)
    if stage is None or not stage.inputs or stage.precious:
        return None
    try:
        request = _request(stage, artifact)
        same = prepare(request).key == artifact.manifest.key
    except GolfpipeError:
        return None
    return shlex.join([*step_words(request), "--force"]) if same else None


def with_way_out(error: GolfpipeError) -> GolfpipeError:
    """Return the error; one about a file of an artifact, and without a hint, gets the way out as its hint."""
    if isinstance(error, ArtifactError) and error.hint is None and error.path is not None:
        path = Path(error.path)
        for folder in path.parents[:3]:
            artifact = try_open(folder) if (folder / MANIFEST_NAME).is_file() else None
            if artifact is not None and path in map(artifact.path_of, artifact.manifest.files):
                error.hint = way_out(artifact)
                break
    return error


def _request(stage: Stage, artifact: Artifact) -> Request:
    """Return the request for the artifact's job: its inputs, and as overrides the settings that it does not get from
    them. Raises ArtifactError where an input is gone."""
    inputs = {ref.role: find_artifact(ref, artifact.path).path for ref in artifact.manifest.inputs}
    bare = Request(stage=stage.name, inputs=inputs, out=artifact.path)
    given = flatten(relevant_config(stage, prepare(bare).config))
    own = flatten(artifact.manifest.config)
    changed = {key: own[key] for key, value in given.items() if key in own and own[key] != value}
    if changed.keys() & {"quantize.target_bytes", "quantize.target_bits"}:
        # The default depends on the data that is at hand, which may not be the same now.
        changed["quantize.calibration"] = own["quantize.calibration"]
    seed = changed.pop("seed", None)
    overrides = override_texts(changed)
    return replace(bare, settings=Settings(overrides=overrides, seed=seed))
