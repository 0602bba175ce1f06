"""Run the pipeline: bring every step up to date in order, say why each runs, and go on past a broken limit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from golfpipe.config.resolve import Resolved, StagesFile
from golfpipe.config.schema import PipelineConfig
from golfpipe.errors import ArtifactError, Busy, GolfpipeError, Interrupted, OverLimit, RuleBroken, UsageError
from golfpipe.jobs.job import Context, Job
from golfpipe.jobs.key import stale_reasons
from golfpipe.jobs.registry import settled_by
from golfpipe.jobs.run import run_job
from golfpipe.jobs.settle import settled
from golfpipe.pipeline.graph import DATA, DEMO_SOURCE, build_graph, select
from golfpipe.pipeline.node import Node
from golfpipe.pipeline.seeds import checked_seeds, decided_by_seed, seed_folders
from golfpipe.pipeline.settings import Settings, inherited_settings, machine_of, tokenizer_settings
from golfpipe.pipeline.single import ARTIFACTS, DEMO_DATA, checked_name
from golfpipe.pipeline.text_digest import demo_digest
from golfpipe.store.artifact import Artifact, open_artifact, try_open
from golfpipe.store.manifest import Kind
from golfpipe.store.recorded_path import recorded_path

State = Literal["up to date", "stale", "missing", "given", "done", "nothing to do", "refused", "failed", "not reached"]
"""A rehearsal alone goes on after a step that failed, and does not reach what depends on it."""
REPORT_FILE = "report.html"
_NONE: Mapping[str, Any] = MappingProxyType({})

CARRIER_KINDS: tuple[Kind, ...] = ("evaluation", "adapted_model", "packed_model", "quantized_model", "trained_model")
"""Kinds whose manifests carry the settings of a whole run, the latest in the chain first."""


@dataclass(frozen=True, kw_only=True)
class RunRequest:
    """The pipeline as the user asks for it."""

    settings: Settings = field(default_factory=Settings)
    context: Context = field(default_factory=Context)
    name: str | None = None
    """The folder below artifacts/; None means the preset's name, with -seeds behind it where there are several."""
    data: Path | None = None
    """Token data to use instead of data.source."""
    start: str | None = None
    until: str | None = None
    seeds: Sequence[int] = ()
    """The seeds to train with, for one submission of them all; none means one run with the seed of the settings."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """What became, or would become, of one node."""

    node: Node
    out: Path
    state: State
    reasons: tuple[str, ...] = ()
    artifact: Artifact | None = None
    error: GolfpipeError | None = None

    @property
    def has_work(self) -> bool:
        """True if the step runs when its turn comes: its artifact is stale, damaged or missing."""
        return self.state in ("stale", "missing")


@dataclass(frozen=True, kw_only=True)
class RunPlan:
    """A checked pipeline with its settings, ready to run."""

    folder: Path
    config: PipelineConfig
    given: Sequence[Node]
    work: Sequence[Node]
    context: Context
    any_vocabulary: bool = False
    """True if nobody chose model.vocab_size, so that it is the tokenizer's."""

    def fitted_to(self, data: Artifact) -> RunPlan:
        """Return the plan for a model that fits the data's tokenizer, unless somebody chose another one."""
        if not self.any_vocabulary:
            return self
        model = replace(self.config.model, **tokenizer_settings(data))
        return replace(self, config=replace(self.config, model=model))

    def config_of(self, node: Node) -> PipelineConfig:
        """Return the settings of one step, with the seed of its chain."""
        return self.config if node.seed is None else replace(self.config, seed=node.seed)

    def job(self, node: Node, found: Mapping[str, Artifact], arguments: Mapping[str, Any] = _NONE) -> Job:
        """Return the job of a step. `found` holds the artifacts of the steps that it reads, by their names."""
        assert node.stage is not None
        return Job(
            stage=node.stage,
            config=self.config_of(node),
            inputs={role: found[name] for role, name in node.inputs.items()},
            out=self.out(node),
            arguments=arguments,
            argument_digest=_argument_digest(node),
            context=self.context,
        )

    def out(self, node: Node) -> Path:
        """Return where the node's artifact is or will be."""
        if node.stage is None:
            return recorded_path(self.config.data.source)
        if node.output == "token_data" and not self.context.rehearsal:
            return DEMO_DATA
        return self.folder / node.name


def plan_run(request: RunRequest) -> RunPlan:
    """Resolve the settings and check the pipeline. Raises ConfigError, UsageError, ArtifactError."""
    settings, seeds = request.settings, checked_seeds(request.seeds)
    if request.data is not None:
        settings = settings.with_overrides(f"data.source={request.data}")
    if seeds:
        settings = _with_first_seed(settings, seeds)
    stages = settings.stages()
    name = request.name or (settings.preset or stages.default_preset) + ("-seeds" if seeds else "")
    folder = ARTIFACTS / checked_name(name)
    resolved = _resolve(settings, stages, folder, request)
    nodes = build_graph(stages.pipeline, resolved.config, seeds)
    _refuse_mixture(folder, build_graph(stages.pipeline, resolved.config), seeds)
    given, work = select(nodes, start=request.start, until=request.until)
    plan = RunPlan(
        folder=folder,
        config=resolved.config,
        given=given,
        work=work,
        context=request.context,
        any_vocabulary=resolved.origin["model.vocab_size"] == "default",
    )
    machine = machine_of(settings)
    if machine is not None and machine.processes > 1:
        request.context.reporter.warn(
            f"run works in one process; train, ttt and evaluate take {machine.processes} with --machine {machine.name}"
        )
    for node in work:
        plan.config_of(node)  # raises ConfigError for a seed that no generator takes
    return plan


def _with_first_seed(settings: Settings, seeds: Sequence[int]) -> Settings:
    """Return the settings with the first of the seeds, which the shared steps carry. Raises UsageError where one seed
    is asked for as well."""
    named = next((text for text in reversed(settings.overrides) if text.partition("=")[0].strip() == "seed"), None)
    one = f"--seed {settings.seed}" if settings.seed is not None else f"--set {named}" if named is not None else None
    if one is not None:
        raise UsageError(
            f"--seeds {_listed(seeds)} and {one} contradict each other",
            hint="--seed for one training, --seeds for one after the other and a submission of them all",
        )
    return replace(settings, seed=seeds[0])


def _refuse_mixture(folder: Path, nodes: Sequence[Node], seeds: Sequence[int]) -> None:
    """Raise UsageError where a run of one seed would come into the folder of a run of several, or the other way."""
    there = list(seed_folders(folder))
    if there and not seeds:
        raise UsageError(
            f"{folder}: holds a run of the seeds {_listed(there)}",
            hint=f"--seeds {_listed(there)} goes on with it; --name starts elsewhere",
            path=str(folder),
        )
    single = sorted(name for name in decided_by_seed(nodes) if (folder / name).exists()) if seeds else []
    if single:
        raise UsageError(
            f"{folder}: holds a run of one seed ({', '.join(single)})",
            hint="--name gives the seeds a folder of their own",
            path=str(folder),
        )


def _listed(seeds: Sequence[int]) -> str:
    return ",".join(map(str, seeds))


def dry_run(plan: RunPlan) -> list[Step]:
    """Return what `run` would do. Inputs that are not made yet count as pending. Writes nothing."""
    found = _open_given(plan)
    steps = [_given_step(plan, node, found) for node in plan.given]
    pending: set[str] = set()
    for node in plan.work:
        step = inspect_step(fitted_plan(plan, steps), node, found, pending)
        if step.has_work:
            pending.add(node.name)
        elif step.artifact is not None:
            found[node.name] = step.artifact
        steps.append(step)
    return steps


def run_pipeline(plan: RunPlan, say: Callable[[Step], None]) -> list[Step]:
    """Bring every step up to date. `say` is called before each step, or when it is skipped.

    A submission that breaks a limit or rule is noted in its step, and the run goes on. Raises whatever else a stage
    raises; the steps before stay finished.
    """
    found = _open_given(plan)
    steps = [_given_step(plan, node, found) for node in plan.given]
    for step in steps:
        say(step)
    for node in plan.work:
        fitted = fitted_plan(plan, steps)
        step = inspect_step(fitted, node, found, pending=set())
        say(step)
        if step.has_work:
            step = run_step(fitted, step, found)
        if step.artifact is not None:
            found[node.name] = step.artifact
        steps.append(step)
    return steps


def fitted_plan(plan: RunPlan, steps: Sequence[Step]) -> RunPlan:
    """Return the plan for the data that the steps so far have, if any."""
    data = next((step.artifact for step in steps if step.artifact and step.node.output == "token_data"), None)
    return plan.fitted_to(data) if data is not None else plan


def _resolve(settings: Settings, stages: StagesFile, folder: Path, request: RunRequest) -> Resolved:
    """Resolve the settings. With --from they start from those of the artifacts that are taken as they are, so that
    `run` and the single commands agree. Raises ConfigError."""
    fresh = settings.resolve(default_preset=True)
    source = fresh.config.data.source
    data = try_open(recorded_path(source)) if source != DEMO_SOURCE else None
    if data is not None:  # which was made with settings that --set cannot change any more
        made = inherited_settings(data, lambda text: None).get("data", {}) | {"source": source}
        settings.resolve(inherited={"data": made}, decided=["data"], default_preset=True)
    if request.start is None:
        return fresh
    graph, warn = build_graph(stages.pipeline, fresh.config, request.seeds), request.context.reporter.warn
    given, _ = select(graph, start=request.start, until=None)
    for kind in CARRIER_KINDS:
        for node in given:
            artifact = try_open(folder / node.name) if node.output == kind else None
            if artifact is not None:
                decided = [section for section in settled_by(kind) if section != "data"]  # DATA may be named anew
                inherited = inherited_settings(artifact, warn)
                return settings.resolve(inherited=inherited, decided=decided)
    return fresh


def _open_given(plan: RunPlan) -> dict[str, Artifact]:
    """Open the artifacts of the nodes taken as they are, by name. Raises ArtifactError naming a missing one."""
    found = {}
    for node in plan.given:
        path = plan.out(node)
        if not path.exists():
            raise ArtifactError(
                f"{path}: {node.name} is needed and not there",
                hint=f"run without --from, or with --from {node.step}",
                path=str(path),
            )
        found[node.name] = open_artifact(path, node.output)
    return found


def _given_step(plan: RunPlan, node: Node, found: dict[str, Artifact]) -> Step:
    artifact = found[node.name]
    return Step(node=node, out=plan.out(node), state="given", reasons=("before --from",), artifact=artifact)


def inspect_step(plan: RunPlan, node: Node, found: dict[str, Artifact], pending: set[str]) -> Step:
    """Return whether the node has work, and why. `pending` holds the nodes that would run first."""
    out = plan.out(node)
    if node.idle_because is not None:
        return Step(node=node, out=out, state="nothing to do", reasons=(node.idle_because,))
    if node.stage is None:
        artifact = open_artifact(out, "token_data")
        return Step(node=node, out=out, state="given", reasons=("data.source",), artifact=artifact)
    digests = {role: None if name in pending else found[name].manifest.digest for role, name in node.inputs.items()}
    existing = try_open(out)
    config = settled(node.stage, plan.config_of(node), data_at_hand="data" in node.inputs)
    reasons = stale_reasons(node.stage, config, digests, existing, _argument_digest(node))
    if existing is None:
        if not out.exists():
            return Step(node=node, out=out, state="missing")
        reasons = ["what is there is damaged or no artifact"]
    waiting = [name for name in node.inputs.values() if name in pending]
    reasons = [reason.replace("(pending)", f"(pending {', '.join(waiting)})") for reason in reasons]
    if not reasons and plan.context.force:
        reasons = ["rehearsed again"] if plan.context.rehearsal else ["--force"]
    if reasons:
        return Step(node=node, out=out, state="stale", reasons=tuple(reasons))
    return Step(node=node, out=out, state="up to date", artifact=existing)


def run_step(plan: RunPlan, step: Step, found: dict[str, Artifact], arguments: Mapping[str, Any] = _NONE) -> Step:
    """Run a step that has work, with further arguments of its stage. A submission that breaks a limit or rule is noted
    in the step that comes back, and in a rehearsal any failure is; else what the stage raises is raised."""
    node = step.node
    try:
        outcome = run_job(plan.job(node, found, arguments))
    except (OverLimit, RuleBroken) as error:
        # Only `submit` raises these, and the table and the audit, which come next, are what the user needs now.
        return Step(node=node, out=step.out, state="refused", reasons=(error.message,), error=error)
    except Exception as error:
        if not plan.context.rehearsal or isinstance(error, Interrupted | Busy):
            raise
        failure = error if isinstance(error, GolfpipeError) else GolfpipeError(f"{type(error).__name__}: {error}")
        return Step(node=node, out=step.out, state="failed", reasons=(failure.message,), error=failure)
    return Step(node=node, out=step.out, state="done", reasons=step.reasons, artifact=outcome.artifact)


def _argument_digest(node: Node) -> str:
    return demo_digest() if node.stage is not None and node.stage.name == "data-demo" else ""


def step_fields(step: Step) -> dict[str, Any]:
    """Return a step as it stands in the JSON object of `run`."""
    manifest = step.artifact.manifest if step.artifact is not None else None
    return {
        "name": step.node.name,
        "stage": step.node.stage.name if step.node.stage is not None else DATA,
        "state": step.state,
        "reasons": list(step.reasons),
        "artifact": str(step.out),
        "kind": step.node.output,
        "digest": manifest.digest if manifest is not None else None,
        "key": manifest.key if manifest is not None else None,
        "metrics": dict(manifest.metrics) if manifest is not None else {},
    }
