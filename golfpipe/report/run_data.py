"""What a run folder holds, read and checked once for all sections of the report."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

from golfpipe.errors import ArtifactError, UsageError
from golfpipe.loading.replay_log import LOG, MAX_LOG_BYTES
from golfpipe.loading.siblings import measure
from golfpipe.pipeline.seeds import seed_folders
from golfpipe.store.artifact import Artifact, open_artifact, try_open
from golfpipe.store.manifest import MANIFEST_NAME, Kind
from golfpipe.store.metric_values import count, flag, mapping, number, text
from golfpipe.store.recorded_path import recorded_path
from golfpipe.store.search import find_all, find_artifact

SWEEP, SWEEP_RESULTS = "sweep", "results.jsonl"
"""The folder of the sweep below a run, and the file in it."""
CELLS = "cells"
"""The folder below a sweep, or a plan, that has the artifacts of its cells."""
MAX_RESULT_BYTES = 64_000_000
PLAN_TIMES = "step_times.json"
"""The file of step times in the folder of a plan, which is a sweep without results otherwise."""
MAX_POINTS = 1500
"""The most points of a curve: more cannot be told apart on a page."""

_ORDER: tuple[Kind, ...] = (
    "weights", "trained_model", "quantized_model", "packed_model", "adapted_model", "evaluation", "submission",
)  # fmt: skip
FORMS = ("trained_model", "quantized_model", "packed_model", "adapted_model")
"""The forms of a model, by `form_index`."""


@dataclass(frozen=True, kw_only=True)
class Curve:
    """Values over steps or epochs."""

    x: tuple[float, ...]
    y: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class TensorError:
    """One line of the quantization report."""

    name: str
    tensor_class: str
    bits: int
    values: int
    relative_mse: float

    @property
    def stored(self) -> str:
        """How the values are stored, in a word."""
        if self.bits > 32:
            return "exactly"
        if self.bits <= 0:
            return f"{-self.bits} states" if self.bits else "open codes"
        return f"{'fp' if self.bits >= 16 else 'int'}{self.bits}"


class Samples(NamedTuple):
    """What models wrote after the same words."""

    prompt: str
    texts: tuple[tuple[str, str], ...]
    """The name of each model, and its text without the prompt."""


@dataclass(frozen=True, kw_only=True)
class RunData:
    """The artifacts of one run folder, for the stages that ran."""

    name: str
    folder: Path
    """The run's folder as commands name it: below the working directory without what leads there."""
    stages: tuple[Artifact, ...]
    """The artifacts in the order of the pipeline."""
    sweep: Path
    """The folder where the results of its sweep would be."""

    def first(self, kind: Kind) -> Artifact | None:
        return next((stage for stage in self.stages if stage.manifest.kind == kind), None)

    @property
    def evaluations(self) -> tuple[Artifact, ...]:
        return tuple(stage for stage in self.stages if stage.manifest.kind == "evaluation")

    @property
    def headline(self) -> Artifact | None:
        """The evaluation that counts: of the packed model if eligible, else of the last form scored."""
        ranked = sorted(self.evaluations, key=_rank)
        return ranked[-1] if ranked else None

    @property
    def ladder(self) -> tuple[Artifact, ...]:
        """The evaluations of the model's forms that are comparable with the headline: same targets, same windows."""
        headline = self.headline
        if headline is None:
            return ()
        same = [evaluation for evaluation in self.evaluations if measure(evaluation) == measure(headline)]
        return tuple(sorted(same, key=form_index))


def read_runs(folder: Path) -> list[RunData]:
    """Read a run folder, which holds several runs where it is one of several seeds. Raises UsageError where nothing is
    in it."""
    begun = [path for path in seed_folders(folder).values() if next(find_all(path, depth=1), None) is not None]
    if not begun:
        return [read_run(folder)]
    return [replace(read_run(path), name=f"{folder.resolve().name}/{path.name}") for path in begun]


def read_run(folder: Path) -> RunData:
    """Read a run folder, or the run around a single artifact or a sweep. Raises UsageError where nothing is in it."""
    if not folder.is_dir():
        raise UsageError(
            f"{folder}: no such folder",
            hint="give a run folder such as artifacts/demo",
            path=str(folder),
            wanted=("run",),
        )
    root = folder.resolve()
    sweep, name, found = root / SWEEP, "", list[Artifact]()
    if (root / MANIFEST_NAME).is_file():
        root, sweep = root.parent, root.parent / SWEEP
    elif (root / SWEEP_RESULTS).is_file() and (swept := _swept_model(root)) is not None:
        root, sweep = swept.path.resolve().parent, root
    elif swept_sort(root) == "sweep":
        root, sweep, name, found = root / CELLS, root, f"{root.name} (best cell)", best_cell(root)
    stages = [artifact for artifact in found or find_all(root, depth=1) if artifact.manifest.kind in _ORDER]
    if not stages:
        raise UsageError(
            f"{folder}: holds no artifact that a report is about",
            hint="give the folder that holds train, quantize, pack, ...",
            path=str(folder),
            wanted=("run",) if sweep != folder.resolve() else (),
        )
    if (folder / MANIFEST_NAME).is_file():
        open_artifact(folder)  # find_all skips unreadable artifacts, but one that was named must be readable
    stages.sort(key=lambda artifact: (_ORDER.index(artifact.manifest.kind), form_index(artifact), artifact.path.name))
    here = Path.cwd().resolve()
    shown = root.relative_to(here) if root != here and root.is_relative_to(here) else root
    return RunData(name=name or root.name, folder=shown, stages=tuple(stages), sweep=sweep)


def _swept_model(sweep: Path) -> Artifact | None:
    """Return the model that the cells of a sweep were made from; None where it is not found."""
    cells = list(find_all(sweep / CELLS, depth=1))
    made = {cell.manifest.digest for cell in cells}
    for cell in cells:
        source = cell.manifest.input("model")
        if source is not None and source.digest not in made:
            try:
                return find_artifact(source, cell.path)
            except ArtifactError:
                return None
    return None


def swept_sort(folder: Path) -> Literal["plan", "sweep"] | None:
    """Say whether the folder is that of a plan, or of a sweep with results; None where it is neither."""
    if (folder / PLAN_TIMES).is_file():
        return "plan"
    return "sweep" if (folder / SWEEP_RESULTS).is_file() else None


def best_cell(sweep: Path) -> list[Artifact]:
    """Return the artifacts of the cell with the best score of those that fit; [] where there is none."""
    from golfpipe.report.sweep_designs import shown_rows

    rows = [row for row in read_sweep(sweep) if mapping(row, "artifacts")]
    places = [(flag(row, "fits") is False, number(row, "val_bpb") or math.inf, row) for row in shown_rows(rows)]
    best = min(places, key=lambda place: place[:2], default=(False, 0.0, {}))[2]
    paths = [sweep / CELLS / recorded_path(str(path)).name for path in mapping(best, "artifacts").values()]
    return [artifact for path in paths if (artifact := try_open(path)) is not None]


def read_sweep(folder: Path) -> list[dict[str, Any]]:
    """Return the rows of the results in a sweep's folder; none where there is no readable one."""
    path = folder / SWEEP_RESULTS
    try:
        if not path.is_file() or path.stat().st_size > MAX_RESULT_BYTES:
            return []
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return []
    rows = []
    for line in lines:
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(row, dict):
            rows.append(row)
    return rows


def form_index(artifact: Artifact) -> int:
    """Return the place of a model among trained, quantized, packed, adapted (or score-first)."""
    metrics = artifact.manifest.metrics
    if metrics.get("protocol") in ("score_first", "pre_eval"):
        return len(FORMS)
    kind = text(metrics, "model_kind")
    return FORMS.index(kind) if kind in FORMS else 0


def _rank(evaluation: Artifact) -> tuple[bool, bool, int, str]:
    metrics = evaluation.manifest.metrics
    eligible = metrics.get("eligible") is True
    packed = form_index(evaluation) >= FORMS.index("packed_model")
    return eligible and packed, metrics.get("whole_split") is True, form_index(evaluation), evaluation.path.name


def training_curves(trained: Artifact) -> dict[str, Curve]:
    """'train', 'validation' (nats per token) and 'lr' (factor) over steps; those that the log has."""
    lines = _json_lines(trained, LOG)
    steps = [line for line in lines if line.get("type") == "step"]
    validations = [line for line in lines if line.get("type") == "validation"]
    metrics = trained.manifest.metrics
    last = number(validations[-1], "step") if validations else None
    # the score at the end is always a metric, but not always a line of the log
    if steps and last != number(metrics, "steps"):
        validations.append({"step": metrics.get("steps"), "val_loss_nats": metrics.get("val_loss_nats")})
    curves = {
        "train": _curve(steps, "step", "train_loss_nats"),
        "validation": _curve(validations, "step", "val_loss_nats"),
        "lr": _curve(steps, "step", "lr_factor"),
    }
    return {name: curve for name, curve in curves.items() if curve.x}


def adaptation_curve(adapted: Artifact) -> Curve:
    """Return the loss in nats per token over the epochs of test-time training."""
    return _curve(_json_lines(adapted, "ttt.jsonl"), "epoch", "loss_nats")


def tensor_errors(quantized: Artifact) -> tuple[TensorError, ...]:
    """Return the complete lines of report.json."""
    report = quantized.read_json("report.json")
    lines = report.get("tensors") if isinstance(report, dict) else None
    found = []
    for line in lines if isinstance(lines, list) else []:
        if not isinstance(line, dict):
            continue
        name, tensor_class = text(line, "name"), text(line, "class")
        bits, values, error = line.get("bits"), count(line, "values"), number(line, "relative_mse")
        if name is None or tensor_class is None or type(bits) is not int or values is None or error is None:
            continue
        found.append(
            TensorError(name=name, tensor_class=tensor_class, bits=bits, values=values, relative_mse=max(error, 0.0))
        )
    return tuple(found)


def _json_lines(artifact: Artifact, name: str) -> list[dict[str, Any]]:
    """Return the objects of a JSONL log, without a line that a crash cut short."""
    if name not in artifact.manifest.files:
        return []
    lines = []
    for raw in artifact.read(name, at_most=MAX_LOG_BYTES).splitlines():
        try:
            line = json.loads(raw)
        except (ValueError, RecursionError):
            continue
        if isinstance(line, dict):
            lines.append(line)
    return lines


def _curve(lines: Iterable[dict[str, Any]], x: str, y: str) -> Curve:
    points = [(a, b) for line in lines if (a := number(line, x)) is not None and (b := number(line, y)) is not None]
    points = thin(sorted(points))
    return Curve(x=tuple(a for a, _ in points), y=tuple(b for _, b in points))


def thin(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return at most MAX_POINTS of the points, evenly spread, and always the last one."""
    stride = -(-len(points) // MAX_POINTS) or 1
    kept = list(points[::stride])
    if points and kept[-1] != points[-1]:
        kept.append(points[-1])
    return kept
