"""What a sweep found: a row per cell, as JSON lines, as CSV and as a picture."""

from __future__ import annotations

import csv
import io
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from golfpipe.config.override import override_text
from golfpipe.pipeline.single import ARTIFACTS
from golfpipe.report.frontier import knee_index, pareto_indices
from golfpipe.report.run_data import SWEEP, SWEEP_RESULTS
from golfpipe.reporter import beside_finished_work
from golfpipe.store.artifact import Artifact, try_open
from golfpipe.store.files import make_folder, named_path, write_file, writing
from golfpipe.store.lock import Hold, output_lock
from golfpipe.store.manifest import Kind
from golfpipe.store.metric_values import count, flag, number
from golfpipe.sweeps.grid import Cell
from golfpipe.sweeps.noise import Noise, NoiseTable
from golfpipe.sweeps.plan import SweepPlan
from golfpipe.sweeps.run import FINISHED, StepRun, StepState, SweepRun, inspect_sweep, run_sweep
from golfpipe.sweeps.words import cell_commands
from golfpipe.sweeps.workers import Workers

TABLE_FILE = "results.csv"
PLOT_FILE = "pareto.png"
RECORD_SECONDS = 2.0
"""The least seconds between two writings of the results while the sweep runs."""
_MEASURES = (
    "val_bpb", "unquantized_bpb", "difference", "low", "high", "val_loss_nats", "packed_bytes", "total_bytes",
    "limit_bytes", "fits", "relative_mse", "eligible", "steps", "train_seconds", "text_bytes", "seconds",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class CellResult:
    """One cell of the grid and its results. A measure that is not known is None."""

    settings: Cell
    state: StepState
    val_bpb: float | None = None
    unquantized_bpb: float | None = None
    """The score of the model's own weights in the same windows."""
    difference: float | None = None
    """val_bpb - unquantized_bpb."""
    low: float | None = None
    high: float | None = None
    """Ends of the 95 % interval of the difference, by a paired bootstrap over documents."""
    no_noise: str | None = None
    """Why there is no interval, where there is a difference."""
    val_loss_nats: float | None = None
    packed_bytes: int | None = None
    total_bytes: int | None = None
    """The bytes of weights and code together."""
    limit_bytes: int | None = None
    fits: bool | None = None
    relative_mse: float | None = None
    eligible: bool | None = None
    steps: int | None = None
    """The steps of the cell's own training; None where the sweep begins with a model, as for the next two."""
    train_seconds: float | None = None
    """The seconds of its clock."""
    text_bytes: int | None = None
    """The bytes of text in the tokens that it read."""
    seconds: float | None = None
    """The seconds of the cell's steps, shared ones included."""
    pareto: bool = False
    """True if no other cell is better in size or score without being worse in the other."""
    knee: bool = False
    """True for the cell to take: the knee of those that fit or, where none does, of all."""
    commands: list[list[str]] = field(default_factory=list)
    """Of the knee, and of every training: the words of the commands that make its model once more, in a run folder of
    its own."""
    artifacts: dict[str, str]
    """The folder of each stage's artifact, and of the `unquantized` weights' evaluation."""
    digest: str | None = None
    """The digest of the last artifact."""
    unquantized_digest: str | None = None
    error: str | None = None
    hint: str | None = None


def collect(run: SweepRun, noise: NoiseTable | None = None) -> list[CellResult]:
    """Return a row per cell, in the order of the grid. Without `noise` no differences have intervals, which saves the
    time to compute them."""
    opened = {identity: try_open(step.step.out) for identity, step in run.steps.items() if _is_done(step)}
    rows = [_row(run, index, opened, noise) for index in range(len(run.plan.cells))]
    best = pareto_indices([(row.total_bytes, row.val_bpb) for row in rows])
    rows = [replace(row, pareto=index in best) for index, row in enumerate(rows)]
    if not run.plan.source.is_model:
        made = ARTIFACTS / f"{run.plan.folder.name.removeprefix(f'{SWEEP}-')}-best"
        every = [cell_commands(run.plan, cell, made) for cell in run.plan.cells]
        return [replace(row, commands=commands) for row, commands in zip(rows, every, strict=True)]
    knee = _knee(rows)
    if knee is not None:
        folder = named_path(named_path(run.plan.source.path).parent)
        commands = cell_commands(run.plan, run.plan.cells[knee], folder.parent / f"{folder.name}-knee")
        rows[knee] = replace(rows[knee], knee=True, commands=commands)
    return rows


def _knee(rows: Sequence[CellResult]) -> int | None:
    """Return the index of the knee of the cells that fit or, where none does, of all."""
    some_fit = any(row.fits is not False and row.val_bpb is not None for row in rows)
    chosen = [row.fits is not False or not some_fit for row in rows]
    return knee_index(
        [(row.total_bytes, row.val_bpb) if take else (None, None) for row, take in zip(rows, chosen, strict=True)]
    )


def run_recorded(
    plan: SweepPlan, workers: Workers, on_change: Callable[[SweepRun], None] = lambda run: None
) -> list[CellResult]:
    """Run the sweep and write its results into its folder. Where they are there already, nothing is locked or written.

    Raises Busy where another sweep works in the folder or takes it over, and KeyboardInterrupt after stopping.
    """
    found, noise = inspect_sweep(plan), NoiseTable(plan.folder)
    rows = collect(found, noise)
    if all(step.state == "up to date" for step in found.steps.values()) and _is_recorded(plan.folder, rows):
        on_change(found)
        return rows
    with output_lock(plan.folder) as hold, _recording(plan, noise, hold) as record:

        def changed(run: SweepRun) -> None:
            on_change(run)
            record(run)

        run = run_sweep(plan, workers, changed)
        whole = [cell for index, cell in enumerate(plan.cells) if run.cell_state(index) != "failed"]
        for why in dict.fromkeys(run.steps[cell.unquantized].error for cell in whole if cell.unquantized):
            if why is not None:
                plan.reporter.warn(f"the unquantized weights have no score to compare with: {why}")
        return collect(run, noise)


@contextmanager
def _recording(plan: SweepPlan, noise: NoiseTable, hold: Hold) -> Iterator[Callable[[SweepRun], None]]:
    """Yield a function that writes the results from time to time as the sweep goes on. At the end, however it comes,
    all results and the picture are written."""
    folder = plan.folder
    last: SweepRun | None = None
    written = -math.inf
    finished = 0
    before = _content(folder / SWEEP_RESULTS)

    def record(run: SweepRun) -> None:
        nonlocal last, written, finished
        last = run
        now = sum(step.state in FINISHED for step in run.steps.values())
        if now != finished and time.monotonic() - written > RECORD_SECONDS:
            finished, written = now, time.monotonic()
            hold.check()
            write_results(folder, collect(run, noise))

    try:
        yield record
    finally:
        if last is not None:
            hold.check()
            rows = collect(last, noise)
            if before != _lines(rows) or not _is_recorded(folder, rows):
                write_results(folder, rows)
                with beside_finished_work(plan.reporter, f"{folder / PLOT_FILE}"):
                    write_plot(folder, rows)


def _is_recorded(folder: Path, rows: Sequence[CellResult]) -> bool:
    """Return True if the results in `folder`, with their picture where they have one, are those of `rows`."""
    has_points = any(row.total_bytes is not None and row.val_bpb is not None for row in rows)
    return (
        _content(folder / SWEEP_RESULTS) == _lines(rows)
        and (folder / TABLE_FILE).is_file()
        and ((folder / PLOT_FILE).is_file() or not has_points)
    )


def write_results(folder: Path, rows: Sequence[CellResult]) -> None:
    """Write results.jsonl and results.csv. Raises OSError, or StageFailed on a full disk."""
    with writing(folder):
        make_folder(folder)
    write_file(folder / SWEEP_RESULTS, _lines(rows))
    write_file(folder / TABLE_FILE, _csv(_settled(rows)).encode())


def _lines(rows: Sequence[CellResult]) -> bytes:
    return "".join(json.dumps(asdict(row)) + "\n" for row in _settled(rows)).encode()


def _settled(rows: Sequence[CellResult]) -> list[CellResult]:
    """Return the rows with states that follow from the work alone: a second run says the same, and an interrupted one
    shows no processes that are gone."""
    said: dict[StepState, StepState] = {"up to date": "done", "running": "waiting"}
    return [replace(row, state=said.get(row.state, row.state)) for row in rows]


def write_plot(folder: Path, rows: Sequence[CellResult]) -> Path | None:
    """Write pareto.png and return its path; None if no cell has bytes and score. A picture of earlier results never
    stays, not even where this one fails."""
    from golfpipe.report.pareto import pareto_png
    from golfpipe.report.sweep_designs import shown_rows
    from golfpipe.report.sweep_points import sweep_points

    path = folder / PLOT_FILE
    path.unlink(missing_ok=True)
    found = sweep_points(shown_rows([asdict(row) for row in rows]))
    if not found.points:
        return None
    write_file(path, pareto_png(found))
    return path


def cell_label(settings: Cell, keys: Sequence[str]) -> str:
    """Return a cell's settings as text, like 'quantize.mlp.bits=3 pack.coder=range'."""
    return " ".join(f"{key}={override_text(key, settings[key])}" for key in keys if key in settings)


def _is_done(step: StepRun) -> bool:
    return step.state in ("up to date", "done")


def _row(run: SweepRun, index: int, opened: Mapping[str, Artifact | None], noise: NoiseTable | None) -> CellResult:
    cell, steps = run.plan.cells[index], run.of_cell(index)
    found = {step.step.request.stage: artifact for step in steps if (artifact := opened.get(step.step.id))}
    unquantized = opened.get(cell.unquantized) if cell.unquantized is not None else None
    chain = [*([run.plan.source.artifact] if run.plan.source.artifact is not None else []), *found.values()]
    score, packed, quantized = (_metrics(chain, kind) for kind in ("evaluation", "packed_model", "quantized_model"))
    failed = next((step for step in steps if step.state == "failed"), None)
    seconds = [number(artifact.manifest.metrics, "seconds") for artifact in found.values()]
    return CellResult(
        settings=dict(cell.settings),
        state=run.cell_state(index),
        val_bpb=number(score, "val_bpb"),
        **(_against(unquantized, chain[-1], noise) if found else {}),
        **_training(found, chain),
        val_loss_nats=number(score, "val_loss_nats"),
        packed_bytes=count(packed, "packed_bytes"),
        total_bytes=count(packed, "total_bytes"),
        limit_bytes=count(packed, "limit_bytes"),
        fits=flag(packed, "fits"),
        relative_mse=number(quantized, "relative_mse"),
        eligible=flag(score, "eligible"),
        seconds=round(sum(value for value in seconds if value is not None), 3) if found else None,
        artifacts={
            **{stage: str(artifact.path) for stage, artifact in found.items()},
            **({"unquantized": str(unquantized.path)} if unquantized is not None else {}),
        },
        digest=chain[-1].manifest.digest if found else None,
        error=failed.error if failed is not None else None,
        hint=failed.hint if failed is not None else None,
    )


def _against(unquantized: Artifact | None, last: Artifact, noise: NoiseTable | None) -> dict[str, Any]:
    """Return the fields of a row that compare its score with that of the unquantized weights; {} without that one."""
    if unquantized is None:
        return {}
    before, after = (number(artifact.manifest.metrics, "val_bpb") for artifact in (unquantized, last))
    fields = {"unquantized_bpb": before, "unquantized_digest": unquantized.manifest.digest}
    if before is None or after is None or last.manifest.kind != "evaluation":
        return fields
    found = noise.of(unquantized, last) if noise is not None else Noise()
    return fields | {"difference": after - before, "low": found.low, "high": found.high, "no_noise": found.missing}


def _training(found: Mapping[str, Artifact], chain: Sequence[Artifact]) -> dict[str, Any]:
    """Return the fields of a row that say how long its own training was; {} without one."""
    if "train" not in found:
        return {}
    trained, data = found["train"].manifest.metrics, _metrics(chain, "token_data")
    tokens, size, whole = count(trained, "tokens"), count(data, "train_bytes"), count(data, "train_tokens")
    return {
        "steps": count(trained, "steps"),
        "train_seconds": number(trained, "train_seconds"),
        "text_bytes": round(tokens * size / whole) if tokens is not None and size is not None and whole else None,
    }


def _metrics(chain: Sequence[Artifact], kind: Kind) -> dict[str, Any]:
    """Return the metrics of the last artifact of that kind in the chain; {} where there is none."""
    return next((a.manifest.metrics for a in reversed(chain) if a.manifest.kind == kind), {})


def _content(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


def _csv(rows: Sequence[CellResult]) -> str:
    keys = list(dict.fromkeys(key for row in rows for key in row.settings))
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*keys, "state", *_MEASURES, "pareto", "error"])
    for row in rows:
        values = asdict(row)
        settings = [override_text(key, row.settings[key]) if key in row.settings else "" for key in keys]
        writer.writerow([*settings, row.state, *(values[name] for name in _MEASURES), row.pareto, row.error])
    return out.getvalue()
