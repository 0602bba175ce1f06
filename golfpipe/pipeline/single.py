"""Prepare one stage as one command: open the inputs, take over their settings, choose the output folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from golfpipe.config.schema import plain_config
from golfpipe.errors import ArtifactError, UsageError
from golfpipe.jobs.job import Context, Job
from golfpipe.jobs.provenance import data_reference
from golfpipe.jobs.registry import MODEL_KINDS, STAGES, Stage
from golfpipe.jobs.shard import Shard, check_parts
from golfpipe.jobs.unfinished import JOB_FILE, read_begun
from golfpipe.pipeline.settings import DECIDED, Settings, inherited_settings, known_settings
from golfpipe.store.artifact import Artifact, open_artifact, try_open
from golfpipe.store.manifest import InputRef
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
    resolved = request.settings.resolve(
        inherited=inherited_settings(source, request.context.reporter.warn) if source is not None else None,
        decided=DECIDED.get(source.manifest.kind, ()) if source is not None else (),
    )
    needless = stage.needless(plain_config(resolved.config))
    wanted = {role: path for role, path in request.inputs.items() if role not in needless}
    return Job(
        stage=stage,
        config=resolved.config,
        inputs=open_inputs(stage, wanted),
        out=checked_out(request.out) if request.out is not None else default_out(stage, source),
        arguments=request.arguments,
        argument_digest=request.argument_digest,
        context=request.context,
    )


def prepare_training(request: Request, name: str | None) -> Job:
    """Return the job of a train request, which may come from an interrupted run.

    A training has a name instead of an input beside which its output goes, and a default preset. With `context.resume`
    it takes over the settings and inputs of the interrupted run. With an `init` model it has the architecture of that
    model. Raises as `prepare`.
    """
    stage = STAGES["train"]
    stages = request.settings.stages()
    run_name = checked_name(name or request.settings.preset or stages.default_preset)
    out = checked_out(request.out) if request.out is not None else ARTIFACTS / run_name / stage.name
    data_path, warn = request.inputs.get("data"), request.context.reporter.warn
    begun, init = None, _opened_init(request.inputs.get("init"))
    if request.context.resume:
        begun, reference, init_reference = _begun(out)
        data = open_artifact(data_path, "token_data") if data_path is not None else find_artifact(reference, out)
        if init is None and init_reference is not None:
            init = find_artifact(init_reference, out)
    elif data_path is None:
        raise UsageError("train needs token data", hint="golfpipe data demo; golfpipe train artifacts/data/demo")
    else:
        data = open_artifact(data_path, "token_data")
    if begun is not None:
        inherited = known_settings(begun, str(out), warn)
    else:
        inherited = inherited_settings(data, warn)
        inherited.setdefault("data", {})["source"] = source_name(data)
    decided = DECIDED["token_data"]
    if init is not None:
        inherited["model"], decided = init.manifest.model or {}, (*decided, "model")
    resolved = request.settings.resolve(inherited=inherited, decided=decided, default_preset=begun is None)
    return Job(
        stage=stage,
        config=resolved.config,
        inputs={"data": data} | ({"init": init} if init is not None else {}),
        out=out,
        arguments=request.arguments,
        argument_digest=request.argument_digest,
        context=request.context,
    )


def source_name(data: Artifact) -> str:
    """Return the data.source with which `run` would read this data."""
    return "demo" if data.path.resolve() == DEMO_DATA.resolve() else str(data.path.resolve())


def _opened_init(path: Path | None) -> Artifact | None:
    """Open the model to start from, which may be of any kind."""
    return open_artifact(path, *MODEL_KINDS) if path is not None else None


def _begun(out: Path) -> tuple[dict[str, Any], InputRef, InputRef | None]:
    """Return settings, data and initial model of the interrupted run in `out`, or of a finished one, which is up to
    date then. Raises UsageError where there is neither."""
    begun = read_begun(out)
    data = begun.input("data") if begun is not None else None
    if begun is not None and data is not None:
        return begun.config, data, begun.input("init")
    finished = try_open(out)
    data = finished.manifest.input("data") if finished is not None else None
    if finished is None or data is None:
        raise UsageError(
            f"{out}: nothing to resume here, no {JOB_FILE} of an unfinished run",
            hint="--name or -o tells which run",
            path=str(out),
        )
    return finished.manifest.config, data, finished.manifest.input("init")


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
    reference = data_reference(model.manifest)
    if reference is None:
        raise ArtifactError(f"{model.path}: its manifest names no data", hint="give the data as an argument")
    return find_artifact(reference, model.path)


def finished_evaluation(path: Path) -> Artifact | None:
    """Return an evaluation, else None. Raises UsageError or ArtifactError for a path without an artifact."""
    artifact = open_artifact(path)
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
    name = stage.name if stage.name != "evaluate" else f"evaluate-{_named(source.path).name}"
    return _named(source.path).parent / name


def _named(path: Path) -> Path:
    """Return `path` in a form that ends in a name, unlike `.` and `..`."""
    return path if path.name not in ("", "..") else path.resolve()


def checked_out(out: Path) -> Path:
    """Return an output path that can have hidden siblings. Raises UsageError where `out` cannot."""
    out = _named(out)
    if not out.name:
        raise UsageError(f"{out}: cannot be an output folder", hint="give a folder with -o")
    if len(out.name.encode()) > MAX_NAME_LENGTH:
        raise UsageError(f"{out}: the folder's name is longer than {MAX_NAME_LENGTH} bytes", hint="a shorter -o")
    return out


def checked_name(name: str) -> str:
    """Return `name` if it can name a run, which is one folder below artifacts/. Raises UsageError."""
    if not name or name in (".", "..") or "/" in name or "\\" in name or name.startswith(".") or not name.isprintable():
        raise UsageError(f"--name {name!r}: expected the name of one folder", hint="letters, digits, - and _")
    if len(name.encode()) > MAX_NAME_LENGTH:
        raise UsageError(f"--name {name[:20]}...: longer than {MAX_NAME_LENGTH} bytes")
    return name
