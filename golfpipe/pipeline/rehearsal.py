"""A rehearsal of a run: every step at one step of training and few targets, so that nothing fails after the GPU hours.

The very stages of the run work, in a folder of the rehearsal's own. Whatever decides whether they work is as in the
run: architecture, precision, contexts, data, quantizer, coder, test-time training, script and rules. What takes the
hours is cut. Numbers of the run itself (time, packed bytes) are estimated beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from golfpipe.config.machines import Machine
from golfpipe.config.schema import PipelineConfig, differing, with_changes
from golfpipe.errors import GolfpipeError, OverLimit, StageFailed, UsageError
from golfpipe.jobs.registry import STAGES
from golfpipe.jobs.settle import settled
from golfpipe.pipeline.dry_run import plan_training
from golfpipe.pipeline.estimate import adaptation_operations, scoring_operations
from golfpipe.pipeline.runner import RunPlan, Step, fitted_plan, inspect_step, run_step
from golfpipe.store.artifact import Artifact
from golfpipe.store.metric_values import count, texts
from golfpipe.store.search import find_all
from golfpipe.units import format_bytes

SUFFIX = "-rehearsal"
LEAST_SHARE = 0.93
"""The least share of the size of Gaussian weights that trained ones took (`expected_file_bytes`)."""


@dataclass(frozen=True, kw_only=True)
class Rehearsed:
    """One step of a rehearsal."""

    step: Step
    expected: Mapping[str, int | float] = field(default_factory=dict)
    """What the run itself will take, as far as it is known: seconds and steps of training, bytes."""
    error: GolfpipeError | None = None
    """What failed here, or what the run will not get past."""


def cuts(config: PipelineConfig) -> dict[str, Any]:
    """Return the settings that a rehearsal puts in place of those of the run, by dotted key."""
    from golfpipe.stages.verify_script import shortened

    adapted = shortened(config.ttt)
    ttt, train = with_changes(config, adapted).ttt, config.train
    targets = ttt.chosen.trial_targets(ttt.recipe(), config.evaluate)  # windows slide, and an update is scored after
    targets = min(targets, config.evaluate.max_targets or targets)
    values = {
        "train.max_steps": 1,
        "train.max_seconds": 0.0,
        "train.batch_tokens": train.context_length,
        "train.validation_targets": min(targets, train.validation_targets or targets),
        "train.qat_start": float(train.qat_start == 1),  # in the one step, if at all
        **adapted,
        "evaluate.max_targets": targets,
    }
    if settled(STAGES["quantize"], config, data_at_hand=True).quantize.calibration != "none":
        values["quantize.calibration_tokens"] = min(512, config.quantize.calibration_tokens or 512)
    return differing(config, values)


def rehearsal_of(plan: RunPlan) -> RunPlan:
    """Return the plan of a run's rehearsal. Raises UsageError where its folder holds what no rehearsal made."""
    folder = plan.folder.with_name(f"{plan.folder.name}{SUFFIX}")
    foreign = next((found for found in find_all(folder) if not found.manifest.is_rehearsal), None)
    if foreign is not None:
        raise UsageError(
            f"{folder}: holds {foreign.path.name}, which no rehearsal made",
            hint="--name gives the run and its rehearsal other folders",
            path=str(folder),
        )
    own: dict[str, Any] = {
        "train.track": "none",  # a tracker would show it beside results
        "submit.name": f"Rehearsal of {plan.config.submit.name or plan.folder.name}",
        "submit.verify": True,
    }
    return replace(
        plan,
        folder=folder,
        config=with_changes(plan.config, cuts(plan.config) | own),
        context=replace(plan.context, force=True, rehearsal=True),
    )


def rehearse(run: RunPlan, machine: Machine | None, say: Callable[[Step], None]) -> list[Rehearsed]:
    """Rehearse every step of a run, those after one that fails, too, if they do not depend on it. `say` is called
    before each step. Times are told for the machine."""
    plan, done, found = rehearsal_of(run), list[Rehearsed](), dict[str, Artifact]()
    for node in plan.work:
        fitted, real = (fitted_plan(each, [other.step for other in done]) for each in (plan, run))
        missing = [name for name in node.inputs.values() if name not in found]
        if missing:
            reasons = (f"needs {', '.join(missing)}",)
            step = Step(node=node, out=fitted.out(node), state="not reached", reasons=reasons)
        else:
            step = inspect_step(fitted, node, found, pending=set())
        say(step)
        if step.has_work:
            read = [found[name] for name in node.inputs.values()]
            arguments = _of_submission(real.config_of(node), read) if node.output == "submission" else {}
            step = run_step(fitted, step, found, arguments)
        if step.artifact is not None:
            found[node.name] = step.artifact
        done.append(_with_outlook(step, real, found, machine))
    return done


def _of_submission(config: PipelineConfig, evaluations: Sequence[Artifact]) -> dict[str, Any]:
    """Return the arguments of `submit`. A script without test-time training has no settings of it."""
    adapted = any(artifact.manifest.stage == "ttt" for artifact in evaluations)
    own = {key: value for key, value in cuts(config).items() if adapted or not key.startswith("ttt.")}
    return {"rehearsed": config, "cuts": own}


def _with_outlook(step: Step, run: RunPlan, found: Mapping[str, Artifact], machine: Machine | None) -> Rehearsed:
    """Return a rehearsed step with what the run will take for it."""
    stage = step.node.stage.name if step.node.stage is not None else None
    if step.artifact is None or stage is None:
        return Rehearsed(step=step, error=step.error)
    if stage == "train":
        return _training(step, run, found, machine)
    if stage == "pack":
        return _packing(step, run.config)
    if stage == "submit":
        return _submission(step, step.artifact.manifest.metrics)
    if machine is None or stage not in ("ttt", "evaluate"):
        return Rehearsed(step=step)
    data = next(artifact for artifact in found.values() if artifact.manifest.kind == "token_data")
    split = (count(data.manifest.metrics, "val_tokens") or 1) - 1
    operations = adaptation_operations if stage == "ttt" else scoring_operations
    seconds = machine.seconds(operations(run.config, min(split, run.config.evaluate.max_targets or split)))
    return Rehearsed(step=step, expected={"seconds": seconds})


def _training(step: Step, run: RunPlan, found: Mapping[str, Artifact], machine: Machine | None) -> Rehearsed:
    """Ask the training of the run whether it could begin, and how long it takes."""
    machines = {machine.name: machine} if machine is not None else {}
    try:
        plan = plan_training(run.job(step.node, found), 1, machines, next(iter(machines), None), measure=False)
    except GolfpipeError as error:
        return Rehearsed(step=step, error=error)
    expected = {"seconds": plan.seconds, "steps": plan.steps}
    return Rehearsed(step=step, expected={name: value for name, value in expected.items() if value is not None})


def _packing(step: Step, config: PipelineConfig) -> Rehearsed:
    from golfpipe.stages.expected_size import expected_file_bytes

    size, reserve, limit = expected_file_bytes(config), config.pack.code_bytes_reserve, config.pack.limit_bytes
    error = OverLimit(
        f"the packed weights will have about {format_bytes(size)}, which with {format_bytes(reserve)} for the script is"
        f" over the limit of {format_bytes(limit)}",
        hint="--set quantize.target_bytes=limit makes them fit, or a smaller model",
    )
    share = LEAST_SHARE if config.quantize.target_bytes == "none" else 1
    fits = share * size + reserve <= limit
    return Rehearsed(step=step, expected={"packed_bytes": size}, error=None if fits else error)


def _submission(step: Step, metrics: Mapping[str, Any]) -> Rehearsed:
    differences = "; ".join(texts(metrics, "script_differences"))
    error = StageFailed(f"train_gpt.py gives other numbers than the stages: {differences}") if differences else None
    code = count(metrics, "code_bytes") if "script_sha256" in metrics else None
    return Rehearsed(step=step, expected={"code_bytes": code} if code is not None else {}, error=error)
