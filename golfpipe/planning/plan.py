"""The plan: which designs fit the bytes and seconds that there are, and which of them to train."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from golfpipe.config.machines import find_machine
from golfpipe.config.schema import PipelineConfig
from golfpipe.errors import ArtifactError, UsageError
from golfpipe.jobs.job import Context
from golfpipe.machine.devices import select_device
from golfpipe.pipeline.estimate import step_operations
from golfpipe.pipeline.settings import Settings
from golfpipe.pipeline.single import ARTIFACTS, checked_name
from golfpipe.planning.candidates import Candidate, candidates, parse_vary
from golfpipe.planning.designs import Design, Measurement, Ranked, Task, fitting_designs, law_of, most_promising, ranked
from golfpipe.planning.laws import Law
from golfpipe.planning.sizes import LEAST_BITS, bits_at
from golfpipe.planning.speeds import StepTimes, fitted_times, stated_times
from golfpipe.planning.trials import Ground, RunCells, Trial, search
from golfpipe.report.run_data import PLAN_TIMES
from golfpipe.store.artifact import Artifact, open_artifact
from golfpipe.store.canonical import digest_of, parse_json
from golfpipe.store.files import make_folder, named_path, write_file
from golfpipe.store.lock import output_lock
from golfpipe.store.metric_values import count
from golfpipe.sweeps.grid import Grid, override_texts
from golfpipe.sweeps.plan import SweepCell, SweepRequest, plan_sweep
from golfpipe.sweeps.source import Source, open_source
from golfpipe.sweeps.work import prepare_step

THIS = "this"
"""The hardware that is measured."""
_SETTINGS = ("quantize.method=trellis", "train.qat_start=1.0")
"""Settings of every design, which --set may change: coded under a target, where nothing is gained by training through
the quantizer."""
_TRIAL_SETTINGS = ("evaluate.method=chunked", "evaluate.max_targets=0", "train.validate_every=0")
_PROBES = 4


@dataclass(frozen=True, kw_only=True)
class PlanRequest:
    """A plan as the user asks for it."""

    source: Path
    size: float
    """The bytes of the packed model."""
    seconds: float
    hardware: str | None
    """`this`, or a machine of stages.yaml; None is the first one that has this machine's device."""
    vary: tuple[str, ...]
    tries: int
    """The number of designs to train; 0 trains none."""
    seeds: tuple[int, ...]
    settings: Settings
    context: Context
    out: Path | None
    run: RunCells


@dataclass(frozen=True, kw_only=True)
class Planned:
    """What a plan comes to."""

    request: PlanRequest
    folder: Path
    task: Task
    has_text: bool
    """True where text is planned for, which each command makes token data of."""
    num_candidates: int
    ranking: list[Ranked]
    law: Law
    own: Ranked | None
    """The preset's own design, where it fits."""
    trials: list[Trial]

    def command(self, design: Design) -> str:
        """Return the shell command that trains, packs and scores the design."""
        return _command(self, design)


def make_plan(request: PlanRequest) -> Planned:
    """Rank the designs that fit and try the best ones. Raises the project's errors; UsageError where none fits."""
    source = open_source(request.source, ("token_data",))
    preset = request.settings.preset or request.settings.stages().default_preset
    request = replace(request, settings=replace(
        request.settings, preset=preset, overrides=(*_SETTINGS, *request.settings.overrides)
    ))  # fmt: skip
    folder = request.out or ARTIFACTS / f"plan-{named_path(source.path).stem}"
    config = _config(request, source)
    vary = request.vary or (("vocab,layers,width",) if source.kind is None else ("layers,width",))
    found = candidates(parse_vary(vary, config, has_text=source.kind is None), config)
    rank = partial(_ranked, request, folder, config, found, has_text=source.kind is None)
    if request.tries and request.hardware not in (None, THIS):
        raise UsageError("--try trains on this machine", hint="--hardware this, and the seconds that it is to take")
    measured = request.tries > 0 or request.hardware == THIS
    if not measured:
        times, data = _stated(request), [source.artifact] if source.artifact is not None else []
        return rank(_task(request, source, times, data), [])
    make_folder(folder)
    with output_lock(folder):
        times, data = _measured(request, folder, found)
        task = _task(request, source, times, data)
        first = rank(task, [])
        if not request.tries:
            return first
        ground = Ground(
            source=source.path,
            settings=replace(request.settings, overrides=(*request.settings.overrides, *_TRIAL_SETTINGS)),
            context=request.context,
            folder=folder,
            seeds=request.seeds,
            run=request.run,
        )
        designs = [one.design for one in first.ranking]
        trials = search(partial(_pick, designs), min(request.tries, len(designs)), ground)
    return rank(task, trials)


def _pick(designs: Sequence[Design], trials: Sequence[Trial], number: int) -> list[Design]:
    tried = {id(trial.design) for trial in trials}
    untried = [design for design in designs if id(design) not in tried]
    return most_promising(untried, law_of(designs, _measurements(trials)), number)


def _measurements(trials: Sequence[Trial]) -> list[Measurement]:
    return [Measurement(design=trial.design, share=trial.share, bpb=trial.bpb) for trial in trials if trial.chosen]


def _ranked(
    request: PlanRequest,
    folder: Path,
    config: PipelineConfig,
    found: Sequence[Candidate],
    task: Task,
    trials: list[Trial],
    *,
    has_text: bool,
) -> Planned:
    designs = fitting_designs(found, task)
    law = law_of(designs, _measurements(trials))
    ranking = ranked(designs, law)
    return Planned(
        request=request,
        folder=folder,
        task=task,
        has_text=has_text,
        num_candidates=len(found),
        ranking=ranking,
        law=law,
        own=next((one for one in ranking if one.design.model == config.model), None),
        trials=trials,
    )


def _config(request: PlanRequest, source: Source) -> PipelineConfig:
    settings, warn = request.settings, request.context.reporter.warn
    return settings.resolve(inherited=source.inherited(warn), decided=source.decided).config


def _stated(request: PlanRequest) -> StepTimes:
    """Return the times of the machine that is named, or of the first one with this machine's device."""
    machines = request.settings.stages().machines
    if request.hardware is not None:
        return stated_times(find_machine(machines, request.hardware, THIS))
    device = select_device(request.context.device)
    machine = next((machine for machine in machines.values() if machine.device == device), None)
    if machine is None:
        raise UsageError(f"no machine of stages.yaml has the device {device}", hint="--hardware this measures it")
    return stated_times(machine)


def _measured(request: PlanRequest, folder: Path, found: Sequence[Candidate]) -> tuple[StepTimes, list[Artifact]]:
    """Return times measured on a few designs from the least to the most operations, at least one of each transform, and
    the token data of their tokenizers. The times are kept in the folder: other times would mean other numbers of steps,
    and new trainings."""
    fit = [one for one in found if bits_at(one.config.model, request.size) >= LEAST_BITS] or list(found)
    fit.sort(key=lambda one: step_operations(one.config))
    probes = [fit[round(part * (len(fit) - 1) / (_PROBES - 1))] for part in range(_PROBES)]
    probes = list({step_operations(one.config): one for one in probes}.values())
    of_transform = {one.config.data.transform: one for one in (*fit, *probes)}
    probes += [one for one in of_transform.values() if one not in probes]  # their tokens are counted, too
    grids: list[Grid] = [{"seed": [0]} | {key: [value] for key, value in one.settings.items()} for one in probes]
    plan = plan_sweep(
        SweepRequest(
            source=request.source, grids=grids, stages=("train",), settings=request.settings, context=request.context,
            out=folder,
        )
    )  # fmt: skip
    tokenized = {cell.steps[:-1]: _of_data(cell) for cell in plan.cells if len(cell.steps) > 1}
    steps = {identity: plan.steps[identity] for cell in tokenized.values() for identity in cell.steps}
    if steps:
        cells = replace(plan, cells=tuple(tokenized.values()), steps=steps)
        failed = next((row for row in request.run(cells) if row.error), None)
        if failed is not None:
            raise UsageError(f"the text cannot be tokenized: {failed.error}", hint=failed.hint)
    data = [open_artifact(step.out) for step in steps.values()] or [open_artifact(request.source)]
    identity = digest_of({"cells": [cell.steps for cell in plan.cells]})
    path = folder / PLAN_TIMES
    seconds = None if request.context.force else _kept_seconds(path, identity, len(probes))
    if seconds is None:
        from golfpipe.stages.training_measure import measured_step_seconds

        jobs = [prepare_step(plan.steps[cell.steps[-1]].request) for cell in plan.cells]
        with request.context.reporter.task("measure steps", len(jobs), "designs") as task:
            seconds = []
            for job in jobs:
                seconds.append(measured_step_seconds(job))
                task.advance(1)
        write_file(path, json.dumps({"of": identity, "seconds": seconds}, indent=1).encode())
    return fitted_times([step_operations(one.config) for one in probes], seconds), data


def _kept_seconds(path: Path, identity: str, designs: int) -> list[float] | None:
    """Return the step times that were measured for these designs; None where the file does not have them, so that they
    are measured again."""
    try:
        kept = parse_json(path.read_bytes(), str(path))
    except (OSError, ArtifactError):
        return None
    seconds = kept.get("seconds") if isinstance(kept, dict) and kept.get("of") == identity else None
    if not isinstance(seconds, list) or len(seconds) != designs:
        return None
    return seconds if all(isinstance(value, float) and value > 0 for value in seconds) else None


def _of_data(cell: SweepCell) -> SweepCell:
    """Return the part of a training's cell that makes its token data."""
    settings = {key: value for key, value in cell.settings.items() if key.startswith("data.")}
    return replace(cell, steps=cell.steps[:-1], settings=settings)


def _task(request: PlanRequest, source: Source, times: StepTimes, data: Sequence[Artifact]) -> Task:
    counted: dict[tuple[int, str], float] = {}
    text: float | None = None
    for artifact in data:
        metrics = artifact.manifest.metrics
        vocabulary, size, tokens = (count(metrics, name) for name in ("vocab_size", "train_bytes", "train_tokens"))
        if vocabulary and size and tokens:
            transform = str(metrics.get("transform", "none"))
            counted[vocabulary, transform], text = size / tokens, float(size)
    files: Sequence[Path] = source.arguments.get("files", ())
    if text is None and files and not any(path.suffix in (".gz", ".zst") for path in files):
        text = float(sum(path.stat().st_size for path in files))
    return Task(size=request.size, seconds=request.seconds, times=times, bytes_per_token=counted, text_bytes=text)


def _command(planned: Planned, design: Design) -> str:
    request = planned.request
    own, data = {**design.settings}, str(request.source)
    settings = {key: value for key, value in own.items() if not key.startswith("data.")}
    is_known = request.tries > 0 or request.hardware == THIS
    length = {"train.max_steps": design.steps} if is_known else {
        "train.max_seconds": request.seconds, "train.max_steps": 2 * design.steps
    }  # fmt: skip
    words = ["--preset", str(request.settings.preset)]
    if not is_known and request.hardware is not None:
        words += ["--machine", request.hardware]
    settings |= length | {"quantize.target_bytes": design.size}
    given = request.settings.overrides
    for text in (*(text for text in given if not text.startswith("data.")), *override_texts(settings)):
        words += ["--set", text]
    first = ""
    if planned.has_text:
        of_data = {key: value for key, value in own.items() if key.startswith("data.")}
        texts = (*(text for text in given if text.startswith("data.")), *override_texts(of_data))
        parts = [named_path(request.source).stem, *(text.partition("=")[2] for text in texts)]
        data = str(ARTIFACTS / "data" / checked_name("-".join(parts)))
        tokenize = ["golfpipe", "data", "tokenize", str(request.source), "-o", data]
        first = shlex.join([*tokenize, *(word for text in texts for word in ("--set", text))]) + " && "
    name = f"{planned.folder.name}-{digest_of([own, design.size])[:6]}"
    return first + shlex.join(["golfpipe", "run", data, "--name", name, *words])


def described(planned: Planned, one: Ranked) -> Mapping[str, object]:
    """Return a design as plain values, for JSON."""
    design = one.design
    return {
        "settings": dict(design.settings), "vocab_size": design.model.vocab_size, "num_layers": design.model.num_layers,
        "model_dim": design.model.model_dim, "bits": design.bits, "bytes": design.size, "steps": design.steps,
        "text_bytes": round(design.text()), "estimate_bpb": one.bpb, "estimate_error": one.error,
        "behind": one.behind, "behind_error": one.behind_error, "command": planned.command(design),
    }  # fmt: skip
