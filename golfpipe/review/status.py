"""The status of a run folder: which steps exist, their key numbers, what is stale and why.

The settings are those that the folder's own artifacts were made with, each section from the step that used it. So a
step is stale where its input was made again, and not because somebody edited a preset. Where settings are given, the
status tells what `run` would do with them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from golfpipe.config.resolve import StagesFile
from golfpipe.config.schema import Plain
from golfpipe.errors import ArtifactError, GolfpipeError, UsageError
from golfpipe.jobs.job import Context
from golfpipe.jobs.key import is_intact
from golfpipe.jobs.provenance import data_reference
from golfpipe.jobs.registry import STAGES
from golfpipe.jobs.unfinished import read_begun
from golfpipe.loading.replay_log import LOG
from golfpipe.pipeline.graph import build_graph
from golfpipe.pipeline.node import Node
from golfpipe.pipeline.runner import RunPlan, Step, dry_run
from golfpipe.pipeline.seeds import seed_folders
from golfpipe.pipeline.settings import Settings, known_settings
from golfpipe.pipeline.single import source_name
from golfpipe.review.progress import last_step
from golfpipe.review.remake import way_out
from golfpipe.store.artifact import Artifact, try_open
from golfpipe.store.files import owner_of, partial_folder
from golfpipe.store.lock import lock_holder
from golfpipe.store.manifest import MANIFEST_NAME, InputRef
from golfpipe.store.recorded_path import recorded_path
from golfpipe.store.search import find_all, find_artifact

LineState = Literal[
    "up to date", "stale", "missing", "unfinished", "damaged", "as made", "being written", "nothing to do"
]
_STEP_STATES: dict[str, LineState] = {
    "up to date": "up to date",
    "given": "up to date",
    "nothing to do": "nothing to do",
    "missing": "missing",
}


@dataclass(frozen=True, kw_only=True)
class StatusLine:
    """One step of the pipeline, or another artifact in the folder."""

    name: str
    path: Path
    state: LineState
    reasons: tuple[str, ...] = ()
    artifact: Artifact | None = None
    in_pipeline: bool = True


@dataclass(frozen=True, kw_only=True)
class RunStatus:
    """The status of a whole run folder."""

    folder: Path
    lines: tuple[StatusLine, ...]

    @property
    def stale(self) -> tuple[StatusLine, ...]:
        return tuple(line for line in self.lines if line.state == "stale")

    @property
    def damaged(self) -> tuple[StatusLine, ...]:
        return tuple(line for line in self.lines if line.state == "damaged")


def run_status(folder: Path, settings: Settings | None = None, *, verify: bool = False) -> RunStatus:
    """Return the status of a run folder. With `verify` every file of every artifact is read, shards included, since
    sizes and dates do not tell of bits that have changed.

    Raises UsageError for a folder that holds nothing, ConfigError."""
    if not folder.is_dir():
        raise UsageError(
            f"{folder}: no such folder",
            hint="give a run folder such as artifacts/demo",
            path=str(folder),
            wanted=("run",),
        )
    if (folder / MANIFEST_NAME).is_file():
        raise UsageError(f"{folder}: one artifact, but status is about a run", path=str(folder), wanted=("run",))
    settings = settings or Settings()
    stages = settings.stages()
    seeds = tuple(seed_folders(folder))
    places = {"": folder} | {f"{path.name}/": path for path in seed_folders(folder).values()}
    found = {f"{at}{made.path.name}": made for at, path in places.items() for made in find_all(path, depth=1)}
    unfinished = {f"{at}{name}" for at, path in places.items() for name in _unfinished_names(path)}
    if not found and not unfinished:
        raise UsageError(
            f"{folder}: holds no artifact",
            hint="give a run folder such as artifacts/demo",
            path=str(folder),
            wanted=("run",),
        )
    kinds = {made.manifest.kind for made in found.values()}
    is_run = "weights" not in kinds or "trained_model" in kinds  # no step of the pipeline makes anything of weights
    plan = _plan(folder, settings, stages, found, seeds)
    lines = [_line(step, found) for step in _steps(plan)] if is_run else []
    named = {line.name for line in lines}
    lines += [_other_line(name, artifact, found) for name, artifact in sorted(found.items()) if name not in named]
    lines += [
        StatusLine(name=name, path=folder / name, state="unfinished", in_pipeline=False)
        for name in sorted(unfinished - named - found.keys())
    ]
    lines = [_verified(line) for line in lines] if verify else lines
    return RunStatus(folder=folder, lines=tuple(_with_work_in_progress(line) for line in lines))


def _plan(
    folder: Path, settings: Settings, stages: StagesFile, found: dict[str, Artifact], seeds: tuple[int, ...]
) -> RunPlan:
    """Return the pipeline with the settings of the folder's artifacts, and the given ones on top. Those of several
    seeds are taken from the first one that has the step."""
    first = {name.rpartition("/")[2]: artifact for name, artifact in reversed(found.items())}
    inherited = _settings_in_use(stages, first)
    config = settings.resolve(inherited=inherited, default_preset=not inherited).config
    nodes = build_graph(stages.pipeline, config, seeds)
    return RunPlan(folder=folder, config=config, given=(), work=nodes, context=Context())


def _settings_in_use(stages: StagesFile, found: dict[str, Artifact]) -> Plain:
    """Return each section of settings from the last step of the pipeline that used it."""
    config: Plain = {}
    for spec in stages.pipeline:
        artifact = found.get(spec.name)
        if artifact is None or spec.stage not in STAGES:
            continue
        sections = (*STAGES[spec.stage].sections, *(("data",) if spec.stage == "train" else ()))
        own = artifact.manifest.config
        config |= {section: own[section] for section in sections if section in own}
    source = _data_source([found[spec.name] for spec in stages.pipeline if spec.name in found])
    if source is not None and "data" in config:
        config["data"] = config["data"] | {"source": source}
    return known_settings(config, "", lambda text: None)


def _data_source(steps: Sequence[Artifact]) -> str | None:
    """Return the path of the data behind the first of these steps, which is what the run's training read, as seen from
    here: the name `demo` means a folder below the working directory. Data that another command scored is not it."""
    for artifact in steps:
        reference = data_reference(artifact.manifest)
        if reference is not None:
            try:
                return source_name(find_artifact(reference, artifact.path))
            except ArtifactError:
                return None
    return None


def _steps(plan: RunPlan) -> list[Step]:
    """Return the steps of `run --dry-run`. Where the data is gone, the other steps are shown as they are."""
    try:
        return dry_run(plan)
    except GolfpipeError as error:
        data = next(node for node in plan.work if node.output == "token_data")
        lost = Step(node=data, out=plan.out(data), state="stale", reasons=(error.message,))
        rest = [node for node in plan.work if node is not data]
        return [lost, *(_bare_step(plan, node) for node in rest)]


def _bare_step(plan: RunPlan, node: Node) -> Step:
    """Return a step as it was made: without the data it cannot be said what would run."""
    artifact = try_open(plan.out(node))
    if artifact is None:
        return Step(node=node, out=plan.out(node), state="missing")
    return Step(node=node, out=plan.out(node), state="up to date", artifact=artifact)


def _line(step: Step, found: dict[str, Artifact]) -> StatusLine:
    artifact = step.artifact or found.get(step.node.name)
    state: LineState = _STEP_STATES.get(step.state, "stale")
    reasons = step.reasons if state == "stale" else ()
    if artifact is not None and reasons and all(_is_own_start(reason, artifact) for reason in reasons):
        state, reasons = "as made", ()
    if state == "stale" and artifact is None:
        state = "damaged" if step.out.exists() else "missing"
    return StatusLine(name=step.node.name, path=step.out, state=state, reasons=tuple(reasons), artifact=artifact)


def _is_own_start(reason: str, trained: Artifact) -> bool:
    """Return True if the reason is only that the model started from another one, or replayed a log. `run` does neither,
    but such a model is not stale."""
    replayed = "replay" in trained.manifest.provenance and reason.startswith("the source files changed")
    return reason.startswith("input init:") or replayed


def _other_line(name: str, artifact: Artifact, found: Mapping[str, Artifact]) -> StatusLine:
    """Return the line of an artifact that no step of the pipeline writes. It is stale if an input changed or is
    gone."""
    reasons = [reason for ref in artifact.manifest.inputs if (reason := _input_change(ref, found)) is not None]
    if not is_intact(artifact):
        reasons.append("files are missing or cut short")
    state: LineState = "stale" if reasons else "as made"
    return StatusLine(
        name=name,
        path=artifact.path,
        state=state,
        reasons=tuple(reasons),
        artifact=artifact,
        in_pipeline=False,
    )


def _input_change(ref: InputRef, found: Mapping[str, Artifact]) -> str | None:
    """Say how the input changed; None where it is where it was, or anywhere in the folder, since folders may be
    moved."""
    digests = digests_in_place(ref, found, try_open)
    if ref.digest in digests:
        return None
    return f"input {ref.role}: {ref.digest[:8]} -> {digests[0][:8] if digests else '(gone)'}"


def digests_in_place(
    ref: InputRef, found: Mapping[str, Artifact], look: Callable[[Path], Artifact | None]
) -> list[str]:
    """Return the digests of what is where the input was, in the run's folder (whose artifacts are `found`, by name) and
    at its path, which `look` opens. The input's own digest is all where any artifact of the run has it."""
    if any(artifact.manifest.digest == ref.digest for artifact in found.values()):
        return [ref.digest]
    path = recorded_path(ref.path)
    candidates = (found.get(path.name), look(path))
    return [artifact.manifest.digest for artifact in candidates if artifact is not None]


def _verified(line: StatusLine) -> StatusLine:
    """Return the line, of a damaged artifact if one of its files is not what the manifest says, with the way out."""
    if line.artifact is None:
        return line
    try:
        line.artifact.verify()
    except ArtifactError as error:
        return replace(line, state="damaged", reasons=(error.message, way_out(line.artifact)))
    return line


def _with_work_in_progress(line: StatusLine) -> StatusLine:
    """Add who is writing here, or what an interrupted run left."""
    holder = lock_holder(line.path)
    if holder is not None:
        return replace(line, state="being written", reasons=(*line.reasons, f"by {holder}"))
    if line.artifact is None and partial_folder(line.path).is_dir():
        return replace(line, state="unfinished", reasons=(_progress(line.path),))
    return line


def _progress(out: Path) -> str:
    """Say how far an interrupted step came, from its log."""
    try:
        resumable = read_begun(out) is not None
    except ArtifactError:
        resumable = False
    step = last_step(partial_folder(out) / LOG)
    done = f"interrupted after step {step}" if step is not None else "interrupted"
    return f"{done}; golfpipe train --resume -o {out}" if resumable else f"{done}; run its command again"


def _unfinished_names(folder: Path) -> set[str]:
    return {owner_of(path).name for path in folder.glob(".*.partial") if path.is_dir()}


def status_fields(line: StatusLine) -> dict[str, Any]:
    """Return a line as it stands in the JSON object of `status`."""
    manifest = line.artifact.manifest if line.artifact is not None else None
    return {
        "name": line.name,
        "artifact": str(line.path),
        "state": line.state,
        "reasons": list(line.reasons),
        "in_pipeline": line.in_pipeline,
        "kind": manifest.kind if manifest is not None else None,
        "digest": manifest.digest if manifest is not None else None,
        "metrics": dict(manifest.metrics) if manifest is not None else {},
    }
