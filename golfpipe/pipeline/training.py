"""The job of a training: a new one, one that starts from another model's weights, or one that was interrupted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from golfpipe.config.schema import Plain
from golfpipe.errors import UsageError
from golfpipe.jobs.job import Job
from golfpipe.jobs.registry import MODEL_KINDS, STAGES, settled_by
from golfpipe.jobs.unfinished import JOB_FILE, Begun, read_begun
from golfpipe.pipeline.settings import inherited_settings, known_settings
from golfpipe.pipeline.single import ARTIFACTS, Request, checked_name, checked_out, source_name
from golfpipe.store.artifact import Artifact, open_artifact, try_open
from golfpipe.store.manifest import Kind, Manifest
from golfpipe.store.search import find_artifact


def prepare_training(request: Request, name: str | None) -> Job:
    """Return the job that the request means. A training is not beside its input but in the folder of the run `name`.

    With `context.resume` it takes over settings and inputs of the run in that folder, as far as none are given. With an
    `init` model the architecture is that of the model. Raises UsageError, ConfigError, ArtifactError.
    """
    stage, settings = STAGES["train"], request.settings
    preset = settings.preset or settings.stages().default_preset
    out = checked_out(request.out) if request.out is not None else ARTIFACTS / checked_name(name or preset) / stage.name
    earlier = _earlier_run(out) if request.context.resume else None
    data = _input("data", ("token_data",), request, earlier, out)
    if data is None:
        raise UsageError("train needs token data", hint="golfpipe data demo; golfpipe train artifacts/data/demo")
    init = _input("init", MODEL_KINDS, request, earlier, out)
    inherited, settled = _inherited(data, earlier, out, request.context.reporter.warn), settled_by("token_data")
    if init is not None:
        inherited["model"], settled = init.manifest.model or {}, (*settled, "model")
    return Job(
        stage=stage,
        config=settings.resolve(inherited=inherited, decided=settled, default_preset=earlier is None).config,
        inputs={"data": data} | ({"init": init} if init is not None else {}),
        out=out,
        arguments=request.arguments,
        argument_digest=request.argument_digest,
        context=request.context,
    )


def _earlier_run(out: Path) -> Begun | Manifest:
    """Return what the interrupted run in `out` began with, or the finished one, which then is up to date."""
    finished = try_open(out)
    earlier = read_begun(out) or (finished.manifest if finished is not None else None)
    if earlier is None or earlier.input("data") is None:
        raise UsageError(
            f"{out}: nothing to resume here, no {JOB_FILE} of an unfinished run",
            hint="--name or -o tells which run",
            path=str(out),
        )
    return earlier


def _input(
    role: str, kinds: tuple[Kind, ...], request: Request, earlier: Begun | Manifest | None, out: Path
) -> Artifact | None:
    """Open the artifact that is given for the role, else the one of the earlier run, if there is any."""
    path = request.inputs.get(role)
    if path is not None:
        return open_artifact(path, *kinds)
    reference = earlier.input(role) if earlier is not None else None
    return find_artifact(reference, out) if reference is not None else None


def _inherited(data: Artifact, earlier: Begun | Manifest | None, out: Path, warn: Callable[[str], None]) -> Plain:
    """Return the settings below those that are given: of the earlier run, else of the data alone."""
    if earlier is not None:
        return known_settings(earlier.config, str(out), warn)
    inherited = inherited_settings(data, warn)
    inherited.setdefault("data", {})["source"] = source_name(data)
    return inherited
