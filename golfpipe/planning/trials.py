"""Trainings that decide between designs: successive halving, at equal seeds, through the sweep.

Every design of a round is trained for the same share of its steps, packed to its bytes, and scored. The better ones go
on to twice the share, and the last one is trained to the end (Jamieson and Talwalkar 2016, arXiv 1502.07943). The first
share is a quarter: in shorter trainings small designs win that are worse in long ones. In later rounds the
design that led goes first, and a training that falls behind its curve is stopped.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean

import numpy as np

from golfpipe.errors import StageFailed
from golfpipe.jobs.job import Context
from golfpipe.loading.leader import BEHIND, LeaderCurve, leader_curve
from golfpipe.pipeline.settings import Settings
from golfpipe.planning.designs import Design
from golfpipe.store.artifact import open_artifact
from golfpipe.store.files import write_file
from golfpipe.sweeps.grid import Grid
from golfpipe.sweeps.plan import SweepCell, SweepPlan, SweepRequest, plan_sweep
from golfpipe.sweeps.results import CellResult
from golfpipe.units import bits_per_byte

MARGIN = 0.05
"""The share by which a training may be behind the leader's curve before it is stopped."""
FEW_STEPS = 50
STOPPED = "stopped.json"
"""The file that remembers which trainings were stopped, and why."""
RunCells = Callable[[SweepPlan], Sequence[CellResult]]
"""Runs a sweep and returns a row per cell, with a view of it."""
Pick = Callable[[Sequence["Trial"], int], list[Design]]
"""Returns so many untried designs, those most promising after the trials."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A design after a round."""

    design: Design
    share: float
    """The share of its steps that it was trained for."""
    chosen: tuple[float, ...] = ()
    """Bits per byte of the packed model on the half of the validation text that chooses, one for each seed."""
    reported: tuple[float, ...] = ()
    """The same on the other half."""
    whole: tuple[float, ...] = ()
    """The same on both halves together."""
    train_seconds: float | None = None
    documents: tuple[int, ...] = ()
    """The bytes of each validation document."""
    stopped: str | None = None
    """Why it was stopped, or what failed."""

    @property
    def bpb(self) -> float:
        """The mean score on the half that chooses; infinite for what was stopped."""
        return fmean(self.chosen) if self.chosen else math.inf


@dataclass(frozen=True, kw_only=True)
class Ground:
    """The place and the manner in which trials are run."""

    source: Path
    settings: Settings
    context: Context
    folder: Path
    seeds: tuple[int, ...]
    run: RunCells


def round_sizes(designs: int) -> list[tuple[int, float]]:
    """Return the number of designs and the share of the steps of each round: all at a quarter, their root at a half,
    one at full length. Two designs begin at a half."""
    sizes = sorted({designs, round(math.sqrt(designs)), 1}, reverse=True)
    return [(size, 2.0 ** (number + 1 - len(sizes))) for number, size in enumerate(sizes)]


def search(pick: Pick, tries: int, ground: Ground) -> list[Trial]:
    """Return the trials of all rounds, the winner's last. In the first round half of the designs are picked before any
    training, and the others when those of the first half are known; none is stopped there, since the law learns of the
    bad ones too."""
    (size, share), *longer = round_sizes(tries)
    designs = pick([], math.ceil(size / 2))
    fewest = round(share * min(design.steps for design in designs))
    if fewest < FEW_STEPS:
        ground.context.reporter.warn(f"the shortest training has {fewest} steps, which say little: more --seconds")
    found = _tried(designs, share, ground, {})
    if size > len(designs):
        found += _tried(pick(found, size - len(designs)), share, ground, {})
    trials = _worst_first(found, ground)
    for size, share in longer:
        last = [trial for trial in reversed(trials) if trial.chosen and trial.share == trials[-1].share]
        designs = [trial.design for trial in last[:size]]
        if len(designs) == 1 and share < 1:  # the others were stopped
            continue
        [leader] = _tried(designs[:1], share, ground, {})
        trials += _worst_first([leader, *_tried(designs[1:], share, ground, _curves(leader, ground))], ground)
    return trials


def _worst_first(found: Sequence[Trial], ground: Ground) -> list[Trial]:
    """Return the trials of a round, the best one last. Raises StageFailed where none has a score, or scores are not of
    the same text."""
    order = sorted(found, key=lambda trial: trial.bpb, reverse=True)
    if not order[-1].chosen:
        raise StageFailed(f"no design could be trained: {order[-1].stopped}", path=str(ground.folder))
    if len({trial.documents for trial in found if trial.chosen}) > 1:
        raise StageFailed(
            "the tokenizers do not give the same validation documents, so scores cannot be compared",
            hint="--vary without vocab",
        )
    return order


def half_scores(nats_D: np.ndarray, bytes_D: np.ndarray) -> tuple[float, float]:
    """Return the bits per byte of the documents in the first half of the text, by bytes, and of those in the second."""
    middle_D = np.cumsum(bytes_D) - bytes_D / 2
    first_D = middle_D <= bytes_D.sum() / 2
    chosen, reported = (
        bits_per_byte(float(nats_D[half_D].sum()), int(bytes_D[half_D].sum())) for half_D in (first_D, ~first_D)
    )
    return chosen, reported


def trial_plan(designs: Sequence[Design], share: float, ground: Ground) -> SweepPlan:
    """Return the sweep that trains designs for a share of their steps, each with every seed."""
    grids: list[Grid] = [
        {
            **{key: [value] for key, value in design.settings.items()},
            "train.max_steps": [max(1, round(share * design.steps))],
            "quantize.target_bytes": [design.size],
        }
        for design in designs
    ]
    plan = plan_sweep(
        SweepRequest(
            source=ground.source,
            grids=grids,
            seeds=ground.seeds,
            settings=ground.settings,
            context=ground.context,
            out=ground.folder,
        )
    )
    used = {identity for cell in plan.cells for identity in cell.steps}
    return replace(
        plan,
        cells=tuple(replace(cell, unquantized=None) for cell in plan.cells),
        steps={identity: step for identity, step in plan.steps.items() if identity in used},
    )


def _tried(designs: Sequence[Design], share: float, ground: Ground, curves: Mapping[int, LeaderCurve]) -> list[Trial]:
    """Return the trial of each design, those included that were stopped before."""
    if not designs:
        return []
    plan, stopped = trial_plan(designs, share, ground), _read_stopped(ground.folder)
    per_design = len(plan.cells) // len(designs)
    trained = [_training_of(plan, cell) for cell in plan.cells]
    going = [index for index, step in enumerate(trained) if step not in stopped]
    steps = {identity: plan.steps[identity] for index in going for identity in plan.cells[index].steps}
    for index in going:
        curve, step = curves.get(plan.cells[index].settings["seed"]), steps[trained[index]]
        if curve is not None:
            own = replace(curve, bytes_per_token=designs[index // per_design].bytes_per_token)
            steps[step.id] = replace(step, request=replace(step.request, arguments={"leader": own}))
    cells = tuple(plan.cells[index] for index in going)
    rows = dict(zip(going, ground.run(replace(plan, cells=cells, steps=steps)), strict=True)) if going else {}
    for index, row in rows.items():
        if row.error is not None and row.error.startswith(BEHIND):
            stopped[trained[index]] = row.error
    write_file(ground.folder / STOPPED, json.dumps(stopped, indent=1).encode())
    found = [rows[index] if index in rows else stopped[step] for index, step in enumerate(trained)]
    return [
        _trial(design, share, found[number * per_design : (number + 1) * per_design])
        for number, design in enumerate(designs)
    ]


def _training_of(plan: SweepPlan, cell: SweepCell) -> str:
    """Return the id of the step that trains the cell."""
    return next(identity for identity in cell.steps if plan.steps[identity].request.stage == "train")


def _trial(design: Design, share: float, found: Sequence[CellResult | str]) -> Trial:
    whole = [row for row in found if not isinstance(row, str) and "evaluate" in row.artifacts]
    if len(whole) < len(found):
        why = next(row if isinstance(row, str) else row.error or "not finished" for row in found if row not in whole)
        return Trial(design=design, share=share, stopped=why)
    from golfpipe.loading.document_scores import read_document_scores

    scores = [read_document_scores(open_artifact(Path(row.artifacts["evaluate"]))) for row in whole]
    halves = [half_scores(score["nats"], score["bytes"]) for score in scores]
    return Trial(
        design=design,
        share=share,
        chosen=tuple(half[0] for half in halves),
        reported=tuple(half[1] for half in halves),
        whole=tuple(bits_per_byte(float(score["nats"].sum()), int(score["bytes"].sum())) for score in scores),
        train_seconds=fmean(row.train_seconds or 0.0 for row in whole),
        documents=tuple(scores[0]["bytes"].tolist()),
    )


def _curves(leader: Trial, ground: Ground) -> dict[int, LeaderCurve]:
    """Return the curve of the leader's training with each seed; none where one failed."""
    plan, curves = trial_plan([leader.design], leader.share, ground), dict[int, LeaderCurve]()
    if leader.stopped is not None:
        return {}
    for cell in plan.cells:
        trained = open_artifact(plan.steps[_training_of(plan, cell)].out)
        curves[cell.settings["seed"]] = leader_curve(trained, leader.design.bytes_per_token, MARGIN)
    return curves


def _read_stopped(folder: Path) -> dict[str, str]:
    path = folder / STOPPED
    found: dict[str, str] = json.loads(path.read_text()) if path.is_file() else {}
    return found
