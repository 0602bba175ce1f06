"""Prepare one stage as one command: open the inputs, take over their settings, choose the output folder."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from golfpipe.config.schema import PipelineConfig, plain_config
from golfpipe.errors import ArtifactError, UsageError
from golfpipe.jobs.job import Context, Job
from golfpipe.jobs.key import is_intact
from golfpipe.jobs.provenance import data_reference
from golfpipe.jobs.registry import SCORED_KINDS, STAGES, Stage
from golfpipe.jobs.settle import settled
from golfpipe.jobs.shard import Shard, check_parts
from golfpipe.pipeline.settings import Settings, known_settings, refuse_needless, refuse_unknown_choices
from golfpipe.store.artifact import Artifact, open_artifact
from golfpipe.store.files import named_path
from golfpipe.store.metric_values import count
from golfpipe.store.search import find_artifact

ARTIFACTS = Path("artifacts")
DEMO_DATA = ARTIFACTS / "data" / "demo"
MAX_NAME_LENGTH = 100
"""The most bytes of a name. File systems allow 255; hidden siblings add a prefix and a suffix."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """A stage as the user asks for it."""

    stage: str
    inputs: Mapping[str, Path | None] = field(default_factory=dict)
    """The artifact folder in each role. Data of None means the data that the model's manifest names."""
    settings: Settings = field(default_factory=Settings)
    context: Context = field(default_factory=Context)
    out: Path | None = None
    """The output folder; None means the folder beside the input that is named for the stage."""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    argument_digest: str = ""


def prepare(request: Request) -> Job:
    """Return the job that the request means. Raises UsageError, ConfigError or ArtifactError."""
    stage = STAGES[request.stage]
    source = _first_input(stage, request.inputs)
    settings, warn = request.settings, request.context.reporter.warn
    resolved = settings.resolve_over(source, warn) if source is not None else settings.resolve()
    if source is not None:
        refuse_unknown_choices(stage, source, resolved)
    elif stage.output == "token_data":
        refuse_needless(stage, resolved, request.arguments.get("tokenizer"))
    config = resolved.config
    return Job(
        stage=stage,
        config=config,
        inputs=open_inputs(stage, _needed_inputs(stage, request.inputs, config, source)),
        out=checked_out(request.out) if request.out is not None else default_out(stage, source),
        arguments=request.arguments,
        argument_digest=request.argument_digest,
        context=request.context,
    )


def source_name(data: Artifact) -> str:
    """Return the data.source with which `run` would read this data."""
    return "demo" if data.path.resolve() == DEMO_DATA.resolve() else str(data.path.resolve())


def _needed_inputs(
    stage: Stage, paths: Mapping[str, Path | None], config: PipelineConfig, source: Artifact | None
) -> dict[str, Path | None]:
    """Return the inputs that the stage reads under these settings. Data that nobody named and that only
    quantize.calibration=auto asks for is left out where it is not at hand."""
    wanted = dict(paths)
    is_asked_for = stage.name == "quantize" and config.quantize.calibration == "auto" and config.quantize.has_target
    if is_asked_for and source is not None and wanted.get("data") is None and training_data(source) is None:
        wanted.pop("data", None)
    needless = stage.needless(plain_config(settled(stage, config, data_at_hand="data" in wanted)))
    return {role: path for role, path in wanted.items() if role not in needless}


def training_data(model: Artifact) -> Artifact | None:
    """Return the token data that the model learned from, where it is found with all of its train shards; else None."""
    try:
        data = find_data(model)
    except ArtifactError:
        return None
    return data if count(data.manifest.metrics, "train_tokens") and is_intact(data) else None


def _first_input(stage: Stage, paths: Mapping[str, Path | None]) -> Artifact | None:
    """Return the input whose settings the stage takes over; None for a stage without inputs."""
    first = dict(list(paths.items())[:1])
    return next(iter(open_inputs(stage, first).values()), None)


def open_inputs(stage: Stage, paths: Mapping[str, Path | None]) -> dict[str, Artifact]:
    """Open the artifact in each role, of a kind that the stage takes. Further roles for one kind end in -2, -3, ...

    Raises UsageError or ArtifactError.
    """
    opened = {
        role: open_artifact(path, *stage.inputs[role.partition("-")[0]])
        for role, path in paths.items()
        if path is not None
    }
    if "data" in paths and paths["data"] is None:
        opened["data"] = find_data(opened["model"])
    return opened


def find_data(model: Artifact) -> Artifact:
    """Return the token data that the model's manifest names, found by digest. Raises ArtifactError."""
    from golfpipe.loading.pieces import refuse_bare_weights

    refuse_bare_weights(model)
    reference = data_reference(model.manifest)
    if reference is None:
        raise ArtifactError(f"{model.path}: its manifest names no data", hint="give the data as an argument")
    return find_artifact(reference, model.path)


def finished_evaluation(path: Path) -> Artifact | None:
    """Return an evaluation, else None. Raises UsageError or ArtifactError for a path without an artifact."""
    artifact = open_artifact(path, *SCORED_KINDS, "evaluation")
    return artifact if artifact.manifest.kind == "evaluation" else None


def prepare_shard(request: Request, shard: Shard) -> Job:
    """Return the job of one part of an evaluation, by default in a folder of its own."""
    whole = prepare(request)
    out = whole.out if request.out is not None else whole.out.with_name(f"{whole.out.name}-{shard.folder}")
    return replace(whole, out=checked_out(out), arguments={"shard": shard}, argument_digest=shard.digest)


def prepare_merge(paths: Sequence[Path], request: Request) -> Job:
    """Return the job that merges the parts in the folders `paths`: the same evaluation as without shards, by default
    beside the parts.

    Raises UsageError for parts that are missing, given twice, or of another evaluation.
    """
    stage = STAGES["evaluate"]
    parts = [open_artifact(path, "partial_evaluation") for path in paths]
    first = parts[0]
    inherited = known_settings(first.manifest.config, str(first.path), request.context.reporter.warn)
    config = request.settings.resolve(inherited=inherited).config
    inputs = {ref.role: find_artifact(ref, first.path) for ref in first.manifest.inputs}
    check_parts(parts, config, {role: artifact.manifest.digest for role, artifact in inputs.items()})
    return Job(
        stage=stage,
        config=config,
        inputs=inputs,
        out=checked_out(request.out or first.path.parent / default_out(stage, inputs["model"]).name),
        arguments={"parts": parts},
        context=request.context,
    )


def default_out(stage: Stage, source: Artifact | None) -> Path:
    """Return the sibling of the input that is named for the stage."""
    assert source is not None, f"{stage.name} has no input to be beside"
    name = stage.name if stage.name != "evaluate" else f"evaluate-{named_path(source.path).name}"
    return named_path(source.path).parent / name


def checked_out(out: Path) -> Path:
    """Return an output path that can have hidden siblings. Raises UsageError where `out` cannot."""
    out = named_path(out)
    if not out.name:
        raise UsageError(f"{out}: cannot be an output folder", hint="give a folder with -o")
    if len(os.fsencode(out.name)) > MAX_NAME_LENGTH:
        raise UsageError(f"{out}: the folder's name is longer than {MAX_NAME_LENGTH} bytes", hint="a shorter -o")
    return out


def checked_name(name: str) -> str:
    """Return `name` if it can name a run, which is one folder below artifacts/. Raises UsageError."""
    if not name or name in (".", "..") or "/" in name or "\\" in name or name.startswith(".") or not name.isprintable():
        raise UsageError(f"--name {name!r}: expected the name of one folder", hint="letters, digits, - and _")
    if len(os.fsencode(name)) > MAX_NAME_LENGTH:
        raise UsageError(f"--name {name[:20]}...: longer than {MAX_NAME_LENGTH} bytes")
    return name
