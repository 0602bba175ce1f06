"""`golfpipe sweep MODEL_OR_DATA_OR_TEXT --grid KEY=V,V`"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from golfpipe.cli.answer import Answer
from golfpipe.cli.command import context_of, input_path, output_path, settings_of
from golfpipe.cli.completion import complete_setting
from golfpipe.cli.design_table import design_table
from golfpipe.cli.options import SweepOptions
from golfpipe.cli.sweep_view import sweep_view
from golfpipe.cli.table import format_metric, format_table, paragraphs
from golfpipe.errors import StageFailed
from golfpipe.store.metric_values import mapping

if TYPE_CHECKING:
    from golfpipe.report.sweep_summary import SweepSummary
    from golfpipe.sweeps.plan import SweepPlan
    from golfpipe.sweeps.results import CellResult
    from golfpipe.sweeps.workers import Workers

MOST_FAILURES = 10


def sweep(
    source: Annotated[str, typer.Argument(help="A model, or token data or text, on which every cell is trained.")],
    options: SweepOptions,
    data: Annotated[str | None, typer.Argument(help="Token data of a model; default that it was trained on.")] = None,
    grid: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=V,V",
            help="Values of one setting. Repeatable; every combination is a cell.",
            autocompletion=complete_setting,
        ),
    ] = None,
    grids: Annotated[
        Path | None, typer.Option(metavar="FILE", help="YAML: keys with lists of values, or a list of such grids.")
    ] = None,
    stages: Annotated[
        str | None,
        typer.Option(metavar="NAMES", help="Some of train,quantize,pack,ttt,evaluate; default those up to a score."),
    ] = None,
    seeds: Annotated[
        str | None, typer.Option(metavar="N,N,...", help="Train every cell with each of these seeds.")
    ] = None,
    without: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY,KEY=V",
            help="Leave each of these out once: at golfpipe's default, or at V. Repeatable.",
            autocompletion=complete_setting,
        ),
    ] = None,
    sample: Annotated[int | None, typer.Option(min=1, help="Draw this many cells at random (by --seed).")] = None,
    cells: Annotated[bool, typer.Option("--cells", help="Print the commands instead of running them.")] = False,
) -> Answer:
    """Try a grid of settings from one checkpoint, or of trainings; steps that cells share are done once.

    Reads a model and, to score, token_data; or token_data, or text, on which every cell is trained. Writes the folder
    `sweep` beside the model, or artifacts/sweep-NAME: artifacts of every step, results.jsonl, results.csv and
    pareto.png; `golfpipe report` shows those of a run. Finished cells are skipped, so the same command goes on after an
    interruption; failed ones are listed at the end, with exit code 1.

    \b
    Examples:
      golfpipe sweep artifacts/demo/train --grid quantize.mlp.bits=3,4,5
      golfpipe sweep artifacts/demo/train --grid pack.coder=range,nibble --cells
      golfpipe sweep artifacts/demo/train --grid pack.coder=range --executor slurm
      golfpipe sweep artifacts/data/demo --grid model.num_layers=4,6 --seeds 0,1,2
      golfpipe sweep texts --grid model.num_layers=4,6 --set data.vocab_size=512
    """
    from golfpipe.sweeps.words import commands

    cut: dict[str, Any] = {"grid": grid, "grids": grids, "without": without, "seeds": seeds, "sample": sample}
    plan = _plan(options, input_path(source), data=data, stages=stages, **cut)
    if cells:
        lines = commands(plan)
        return Answer(lines=lines, path=plan.folder, extra={"commands": lines, "cells": _settings(plan)})
    if options.dry_run:
        return _planned(plan)
    return _run(plan, workers_of(options, plan), quiet=options.quiet)


def workers_of(options: SweepOptions, plan: SweepPlan) -> Workers:
    """Return the workers that the options name. Raises UsageError and ConfigError."""
    from golfpipe.sweeps.executor import make_workers
    from golfpipe.sweeps.slurm import parse_slurm_options

    return make_workers(
        plan, executor=options.executor.value, jobs=options.jobs, slurm=parse_slurm_options(options.slurm or [])
    )


def _plan(
    options: SweepOptions,
    source: Path,
    *,
    data: str | None,
    stages: str | None,
    sample: int | None,
    grid: list[str] | None,
    grids: Path | None,
    without: list[str] | None,
    seeds: str | None,
) -> SweepPlan:
    from golfpipe.pipeline.seeds import parse_seeds
    from golfpipe.sweeps.grid import parse_grid, parse_without, read_grids
    from golfpipe.sweeps.plan import DEFAULT_THREADS, SweepRequest, plan_sweep

    context = context_of(options)
    return plan_sweep(
        SweepRequest(
            source=source,
            grids=[*([parse_grid(grid)] if grid else []), *(read_grids(grids) if grids is not None else [])],
            seeds=parse_seeds(seeds) if seeds is not None else (),
            without=parse_without(without) if without else {},
            data=input_path(data) if data is not None else None,
            stages=tuple(name.strip() for name in stages.split(",")) if stages is not None else None,
            sample=sample,
            settings=settings_of(options),
            context=replace(context, threads=context.threads or DEFAULT_THREADS),
            out=output_path(options.out),
        )
    )


def _run(plan: SweepPlan, workers: Workers, *, quiet: bool) -> Answer:
    from golfpipe.report.sweep_designs import shown_rows
    from golfpipe.report.sweep_summary import summarize
    from golfpipe.sweeps.results import run_recorded

    if not quiet:
        shared = f" instead of {plan.num_unshared}" if plan.num_unshared > len(plan.steps) else ""
        plan.reporter.note(f"{len(plan.cells)} cells, {len(plan.steps)} steps{shared}, {workers.at_once} at a time")
    with sweep_view(plan, quiet=quiet) as show:
        rows = run_recorded(plan, workers, show)
    failed = [row for row in rows if row.state == "failed"]
    places = [f"results  {plan.folder / 'results.csv'}", f"plot     {plan.folder / 'pareto.png'}"]
    if not (plan.folder / "pareto.png").is_file():
        places = places[:1]
    shown = shown_rows([asdict(row) for row in rows])
    summary = summarize(shown)
    return Answer(
        lines=paragraphs(
            [summary.packed], *_tables(shown, summary), _failures(plan, failed), _conclusion(summary), places,
        ),
        path=plan.folder,
        kind="sweep",
        up_to_date=all(row.state == "up to date" for row in rows),
        extra={"cells": [asdict(row) for row in rows]} | ({"designs": shown} if "seeds" in shown[0] else {}),
        error=StageFailed(
            f"{len(failed)} of {len(rows)} cells failed",
            hint="the same command tries them again",
            path=str(plan.folder),
        )
        if failed
        else None,
    )  # fmt: skip


def _tables(shown: Sequence[Mapping[str, Any]], summary: SweepSummary) -> list[list[str]]:
    if "seeds" in shown[0]:
        return [design_table(shown)]
    return [result_table(shown), _explained(shown, summary)]


def result_table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a line for the unquantized weights and one per cell, the best score first. Differences from those weights
    are a column where some cell has one."""
    from golfpipe.report.sweep_points import short_names, shown_value, sweep_points, varied_keys
    from golfpipe.report.sweep_summary import difference_text

    keys = varied_keys(rows) or list(mapping(rows[0], "settings"))
    ranked = sorted(rows, key=lambda row: (row["val_bpb"] is None, row["val_bpb"] or 0.0, row["total_bytes"] or 0))
    found = sweep_points(rows)
    beside = ["from unquantized"] if any(row["difference"] is not None for row in rows) else []
    first = [
        ["unquantized", *[""] * (len(keys) - 1), format_metric("val_bpb", score), *[""] * len(beside), "", ""]
        for score in found.unquantized
    ]
    lines = [
        [
            *(shown_value(row["settings"][key]) if key in row["settings"] else "-" for key in keys),
            format_metric("val_bpb", row["val_bpb"]),
            *(difference_text(row) or "-" for _ in beside),
            f"{row['total_bytes']:,}" if row["total_bytes"] is not None else "-",
            " ".join(_remarks(row)),
        ]
        for row in ranked
    ]
    return format_table([*short_names(keys).values(), "val_bpb", *beside, "bytes", ""], first + lines)


def _remarks(row: Mapping[str, Any]) -> Iterator[str]:
    yield "*" if row["pareto"] else " "
    if row["knee"]:
        yield "knee"
    if row["fits"] is False:
        yield "over the limit"
    if row["state"] not in ("done", "up to date"):
        yield row["state"]


def _explained(rows: Sequence[Mapping[str, Any]], summary: SweepSummary) -> list[str]:
    """Return the words below the table that say what its signs mean; none for signs that it does not have."""
    lines = ["* no other cell is as small and better"] if any(row["pareto"] for row in rows) else []
    if any(row["low"] is not None for row in rows):
        lines.append("+- half of the 95 % interval: what the choice of documents can do (paired bootstrap)")
    if summary.no_noise is not None:
        lines.append(f"the differences have no +- beside them: {summary.no_noise}")
    return lines


def _conclusion(summary: SweepSummary) -> list[str]:
    lines = [f"best  {summary.best}"] if summary.best is not None else []
    if summary.knee is None:
        return [*lines, f"make the best: {' && '.join(summary.commands)}"] if summary.commands else lines
    lines += [f"knee  {summary.knee}", f"      {summary.rule}"]
    return [*lines, f"take the knee: {' && '.join(summary.commands)}"] if summary.commands else lines


def _failures(plan: SweepPlan, failed: list[CellResult]) -> list[str]:
    from golfpipe.sweeps.results import cell_label

    lines = []
    for row in failed[:MOST_FAILURES]:
        hint = f" (hint: {row.hint})" if row.hint else ""
        lines += [f"failed: {cell_label(row.settings, plan.keys)}", f"  {row.error}{hint}"]
    if len(failed) > MOST_FAILURES:
        lines.append(f"and {len(failed) - MOST_FAILURES} more in {plan.folder / 'results.csv'}")
    return lines


def _planned(plan: SweepPlan) -> Answer:
    """Return the answer of --dry-run."""
    from golfpipe.sweeps.results import cell_label
    from golfpipe.sweeps.run import inspect_sweep

    run = inspect_sweep(plan)
    rows = [
        [cell_label(cell.settings, plan.keys), "up to date" if run.cell_state(index) == "up to date" else "would run"]
        for index, cell in enumerate(plan.cells)
    ]
    todo = sum(step.state != "up to date" for step in run.steps.values())
    return Answer(
        lines=paragraphs(format_table(["cell", ""], rows), [f"{todo} of {len(plan.steps)} steps would run"]),
        path=plan.folder,
        kind="sweep",
        up_to_date=todo == 0,
        extra={"cells": _settings(plan)},
    )


def _settings(plan: SweepPlan) -> list[dict[str, object]]:
    return [{"settings": cell.settings, "steps": list(cell.steps)} for cell in plan.cells]
