"""A rehearsal of a run: every step at one step of training and few targets, so that nothing fails after the GPU hours.

The very stages of the run work, in a folder of the rehearsal's own. Whatever decides whether they work is as in the
run: architecture, precision, contexts, data, quantizer, coder, test-time training, script and rules. What takes the
hours is cut. Numbers of the run itself (time, packed bytes) are estimated beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from golfpipe.config.machines import Machine
from golfpipe.config.schema import PipelineConfig, differing, with_changes
from golfpipe.errors import GolfpipeError, OverLimit, RuleBroken, StageFailed, UsageError
from golfpipe.jobs.job import Job
from golfpipe.jobs.registry import STAGES
from golfpipe.jobs.settle import settled
from golfpipe.model.config import parameter_count
from golfpipe.pipeline.dry_run import like_this_one, plan_training
from golfpipe.pipeline.estimate import (
    adaptation_operations,
    gaussian_file_bytes,
    scoring_operations,
    step_operations,
    training_time,
)
from golfpipe.pipeline.runner import RunPlan, Step, fitted_plan, inspect_step, run_step
from golfpipe.pipeline.settings import Settings, machine_of
from golfpipe.store.artifact import Artifact
from golfpipe.store.metric_values import count, texts
from golfpipe.store.search import find_all
from golfpipe.submission.facts import Expected
from golfpipe.units import format_bytes

SUFFIX = "-rehearsal"
_CALIBRATION_TOKENS = 512
LEAST_SHARE = 0.93
"""The least share of the size of Gaussian weights that trained ones took (`gaussian_file_bytes`)."""


@dataclass(frozen=True, kw_only=True)
class Rehearsed:
    """One step of a rehearsal, and what the run itself will take for it. None stands for what is not known."""

    step: Step
    seconds: float | None = None
    steps: int | None = None
    bytes: int | None = None
    """The bytes of packed weights, or of the script."""
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
    if _calibration_tokens(config):
        values["quantize.calibration_tokens"] = min(_CALIBRATION_TOKENS, _calibration_tokens(config))
    return differing(config, values)


def _calibration_tokens(config: PipelineConfig) -> int:
    """Return the tokens that quantizing will be calibrated on; 0 for none."""
    from golfpipe.training.calibration import plan_calibration

    settings = settled(STAGES["quantize"], config, data_at_hand=True).quantize
    if settings.calibration == "none":
        return 0
    return plan_calibration(settings, parameter_count(config.model), config.train.context_length).num_tokens


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


def rehearse(run: RunPlan, settings: Settings, say: Callable[[Step], None]) -> list[Rehearsed]:
    """Rehearse every step of a run, those after one that fails, too, if they do not depend on it. `say` is called
    before each step."""
    plan, done, found = rehearsal_of(run), list[Rehearsed](), dict[str, Artifact]()
    machine = machine_behind(run, settings)
    for node in plan.work:
        fitted, real = (fitted_plan(each, [other.step for other in done]) for each in (plan, run))
        outlook = _Outlook(real, found, machine, is_named=settings.machine is not None)
        missing = [name for name in node.inputs.values() if name not in found]
        if missing:
            reasons = (f"needs {', '.join(missing)}",)
            step = Step(node=node, out=fitted.out(node), state="not reached", reasons=reasons)
        else:
            step = inspect_step(fitted, node, found, pending=set())
        say(step)
        if step.has_work:
            step = run_step(fitted, step, found, outlook.arguments(step))
        if step.artifact is not None:
            found[node.name] = step.artifact
        done.append(outlook.of(step))
    return done


def gravest_error(rehearsed: Sequence[Rehearsed]) -> GolfpipeError | None:
    """Return the first failure, else the first limit or rule that the run would break."""
    errors = [each.error for each in rehearsed if each.error is not None]
    # False comes before True, and of equals min takes the first.
    return min(errors, key=lambda error: isinstance(error, OverLimit | RuleBroken), default=None)


def machine_behind(run: RunPlan, settings: Settings) -> Machine | None:
    """Return the machine for which times are told: the named one, else the first that has the device of this one."""
    return machine_of(settings) or like_this_one(settings.stages().machines, run.context.device)


@dataclass(frozen=True)
class _Outlook:
    """What the run itself will take."""

    run: RunPlan
    found: Mapping[str, Artifact]
    """What the rehearsal has made so far, by step."""
    machine: Machine | None
    is_named: bool
    """True if the user named the machine: the time limits are judged for no other one."""

    def of(self, step: Step) -> Rehearsed:
        """Return a rehearsed step with what the run will take for it."""
        stage = step.node.stage.name if step.node.stage is not None else None
        if step.artifact is None or stage is None:
            return Rehearsed(step=step, error=step.error)
        if stage == "train":
            return self._training(step)
        if stage == "pack":
            return self._packing(step)
        if stage in ("ttt", "evaluate"):
            return Rehearsed(step=step, seconds=self._seconds(step))
        if stage == "submit":
            return _submission(step)
        return Rehearsed(step=step)

    def arguments(self, step: Step) -> dict[str, Any]:
        """Return what the stage is told: a submission, what it is judged by."""
        if step.node.output != "submission":
            return {}
        from golfpipe.stages.submit import Rehearsed as Stand

        config = self.run.config_of(step.node)
        return {"rehearsed": Stand(config=config, cuts=cuts(config), expected=self._expected(step))}

    def _training(self, step: Step) -> Rehearsed:
        node, machine = step.node, self.machine
        assert node.stage is not None
        inputs = {role: self.found[name] for role, name in node.inputs.items()}
        job = Job(
            stage=node.stage,
            config=self.run.config_of(node),
            inputs=inputs,
            out=self.run.out(node),
            context=self.run.context,
        )
        machines = {machine.name: machine} if machine is not None else {}
        try:
            plan = plan_training(job, 1, machines, machine.name if machine is not None else None, measure=False)
        except GolfpipeError as error:
            return Rehearsed(step=step, error=error)
        return Rehearsed(step=step, seconds=plan.seconds, steps=plan.steps)

    def _packing(self, step: Step) -> Rehearsed:
        pack, size = self.run.config.pack, gaussian_file_bytes(self.run.config)
        least, reserve = _least_bytes(self.run.config), pack.code_bytes_reserve
        error = None
        if least + reserve > pack.limit_bytes:
            error = OverLimit(
                f"the packed weights will have about {format_bytes(size)}, which with {format_bytes(reserve)} for the"
                f" script is over the limit of {format_bytes(pack.limit_bytes)}",
                hint="--set quantize.target_bytes=limit makes them fit, or a smaller model",
            )
        return Rehearsed(step=step, bytes=size, error=error)

    def _seconds(self, step: Step) -> float | None:
        """Return the time of an evaluation or of test-time training."""
        if self.machine is None or step.node.stage is None:
            return None
        config = self.run.config
        of_work = adaptation_operations if step.node.stage.name == "ttt" else scoring_operations
        return self.machine.seconds(of_work(config, self._targets()))

    def _targets(self) -> int:
        """Return the number of targets that the run will score."""
        data = next(artifact for artifact in self.found.values() if artifact.manifest.kind == "token_data")
        split = (count(data.manifest.metrics, "val_tokens") or 1) - 1
        return min(split, self.run.config.evaluate.max_targets or split)

    def _expected(self, step: Step) -> Expected:
        """Return what the submission of the run is judged by."""
        config, machine = self.run.config, self.machine if self.is_named else None
        expected = Expected(packed_bytes=_least_bytes(config), max_targets=config.evaluate.max_targets)
        if machine is None:
            return expected
        scored_first = any(self.found[name].manifest.stage == "ttt" for name in step.node.inputs.values())
        of_work = adaptation_operations if scored_first else scoring_operations
        calibration = _calibration_tokens(config) * step_operations(config) / config.train.batch_tokens
        training = training_time(config.train, machine.step_seconds(step_operations(config))).seconds
        return replace(
            expected,
            machine=machine.name,
            train_seconds=training + machine.seconds(calibration),
            eval_seconds=machine.seconds(of_work(config, self._targets())),
        )


def _least_bytes(config: PipelineConfig) -> int:
    """Return the least size that the packed weights are expected to have."""
    exact = config.quantize.target_bytes != "none"
    return int(gaussian_file_bytes(config) * (1 if exact else LEAST_SHARE))


def _submission(step: Step) -> Rehearsed:
    assert step.artifact is not None
    metrics, error = step.artifact.manifest.metrics, None
    if metrics.get("script_verified") is False:
        listed = "; ".join(texts(metrics, "script_differences"))
        error = StageFailed(f"train_gpt.py gives other numbers than the stages: {listed}", path=str(step.out))
    measured = metrics.get("code_bytes_source") == "measured"
    return Rehearsed(step=step, bytes=count(metrics, "code_bytes") if measured else None, error=error)
