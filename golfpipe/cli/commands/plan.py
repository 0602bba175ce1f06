"""`golfpipe plan TEXT_OR_DATA --bytes 16e6 --seconds 600`"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from statistics import fmean
from typing import TYPE_CHECKING, Annotated, Any

import typer

from golfpipe.cli.answer import Answer
from golfpipe.cli.command import context_of, input_path, output_path, settings_of
from golfpipe.cli.commands.sweep import workers_of
from golfpipe.cli.options import SweepOptions
from golfpipe.cli.sweep_view import sweep_view
from golfpipe.cli.table import format_table, paragraphs, shortened
from golfpipe.reporter import beside_finished_work
from golfpipe.units import format_bytes, format_seconds

if TYPE_CHECKING:
    from golfpipe.planning.plan import Planned
    from golfpipe.planning.trials import Trial
    from golfpipe.sweeps.plan import SweepPlan
    from golfpipe.sweeps.results import CellResult

MOST_LINES = 8
"""Designs in the table, so that the answer is one screen of 24 lines."""
MOST_OF_VALUE = 15
"""Characters of a value in its column."""
_OWN_COLUMNS = ("data.vocab_size", "model.num_layers", "model.model_dim")
PLOT_FILE = "plan.png"


def plan(
    source: Annotated[str, typer.Argument(metavar="TEXT_OR_DATA", help="Text, or token data, to train on.")],
    options: SweepOptions,
    size: Annotated[float, typer.Option("--bytes", metavar="N", min=1, help="Bytes of the packed model, e.g. 16e6.")],
    seconds: Annotated[float, typer.Option(min=1, help="Seconds of training, its clock alone.")],
    hardware: Annotated[
        str | None, typer.Option(help="A machine of `golfpipe presets`, or this, which measures a few steps here.")
    ] = None,
    vary: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME,NAME or KEY=V,V",
            help="vocab, layers, width, mlp, ngram, bits, with values if you like; or any setting. Repeatable.",
        ),
    ] = None,
    tries: Annotated[
        int, typer.Option("--try", metavar="N", min=0, max=64, help="Train the N most promising here, by halving.")
    ] = 0,
    seeds: Annotated[str, typer.Option(metavar="N,N,...", help="Train each with each of these seeds.")] = "0,1",
    commands: Annotated[
        bool, typer.Option("--commands", help="Print the command of each design, the best one first.")
    ] = False,
) -> Answer:
    """Choose a design for so many bytes and seconds: those that fit, ranked by an estimate with its error.

    Reads text or token_data. With --try or --hardware this it writes artifacts/plan-NAME: the trainings, step times and
    plan.png; the same command goes on after an interruption. The estimate is a law whose coefficients begin at
    published values and follow the trainings of --try (docs/planning.md). --dry-run measures and trains nothing.

    \b
    Examples:
      golfpipe plan texts --bytes 60e3 --seconds 120 --preset tiny
      golfpipe plan texts --bytes 16e6 --seconds 600 --hardware gpus-8x80gb
      golfpipe plan texts --bytes 60e3 --seconds 60 --vary model.leaky_slope=0,0.5
    """
    from golfpipe.pipeline.seeds import parse_seeds
    from golfpipe.planning.plan import THIS, PlanRequest, make_plan
    from golfpipe.sweeps.plan import DEFAULT_THREADS

    context = context_of(options)
    planned = make_plan(
        PlanRequest(
            source=input_path(source),
            size=size,
            seconds=seconds,
            hardware=None if options.dry_run and hardware == THIS else hardware,
            vary=tuple(vary or ()),
            tries=0 if options.dry_run else tries,
            seeds=parse_seeds(seeds),
            settings=settings_of(options),
            context=replace(context, threads=context.threads or DEFAULT_THREADS),
            out=output_path(options.out),
            run=partial(_run_cells, options),
        )
    )
    with beside_finished_work(context.reporter, f"{planned.folder / PLOT_FILE}"):
        _write_plot(planned)
    return _answer(planned, commands)


def _run_cells(options: SweepOptions, cells: SweepPlan) -> Sequence[CellResult]:
    from golfpipe.sweeps.results import collect
    from golfpipe.sweeps.run import run_sweep

    with sweep_view(cells, quiet=options.quiet) as show:
        return collect(run_sweep(cells, workers_of(options, cells), show))


def _answer(planned: Planned, commands: bool) -> Answer:
    from golfpipe.planning.plan import described

    lines = [planned.command(one.design) for one in planned.ranking]
    if not commands:
        lines = paragraphs(_heading(planned), _table(planned), _tried(planned), _conclusion(planned))
    return Answer(
        lines=lines,
        path=planned.folder if planned.trials else None,
        kind="plan",
        extra={
            "designs": [dict(described(planned, one)) for one in planned.ranking],
            "trials": [_trial_fields(planned, trial) for trial in planned.trials],
            "step_times": asdict(planned.task.times),
        },
    )


def _trial_fields(planned: Planned, trial: Trial) -> dict[str, Any]:
    return {
        "settings": dict(trial.design.settings), "share": trial.share, "steps": round(trial.share * trial.design.steps),
        "bytes": trial.design.size, "chosen_bpb": list(trial.chosen), "reported_bpb": list(trial.reported),
        "whole_bpb": list(trial.whole), "train_seconds": trial.train_seconds, "stopped": trial.stopped,
    }  # fmt: skip


def _heading(planned: Planned) -> list[str]:
    task, measured = planned.task, len([trial for trial in planned.trials if trial.chosen])
    fitted = f"and {measured} trainings of this plan" if measured else "alone: nothing was trained for it"
    return [
        f"{format_bytes(round(task.size))} packed, {format_seconds(task.seconds)} of training",
        f"times of {task.times.basis}",
        f"{len(planned.ranking):,} of {planned.num_candidates:,} designs fit; ranked by the law {fitted}",
        f"bpb is off by +-{planned.ranking[0].error:.2g} in all alike; behind: by the +- beside it",
    ]


def _table(planned: Planned) -> list[str]:
    """Return a line for each of the best designs. Settings without a column of their own take the place of two others,
    so that lines fit 80 columns."""
    from golfpipe.report.sweep_points import short_names, shown_value

    keys = [key for key in _varied(one.design.settings for one in planned.ranking) if key not in _OWN_COLUMNS]
    wide = [] if len(keys) > 1 else ["steps", "MB read"]
    rows = []
    for number, one in enumerate(planned.ranking[:MOST_LINES], start=1):
        design, model = one.design, one.design.model
        lengths = [f"{design.steps:,}", f"{design.text() / 1e6:,.3g}"] if wide else []
        behind = f"{one.behind:+.3f} +-{one.behind_error:.3f}" if number > 1 else "-"
        others = [shortened(shown_value(design.settings.get(key, "-")), MOST_OF_VALUE) for key in keys]
        size = [str(number), f"{model.vocab_size}", f"{model.num_layers} x {model.model_dim}"]
        rows.append([*size, *others, f"{design.bits:.2f}", *lengths, f"{one.bpb:.3f}", behind])
    return format_table(["", "vocab", "layers", *short_names(keys).values(), "bits", *wide, "bpb", "behind"], rows)


def _varied(settings: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the keys in which designs differ; of those that go together the first."""
    from golfpipe.report.sweep_points import varied_keys

    keys = varied_keys([{"settings": one} for one in settings])
    return [key for key in keys if not key.endswith(("_heads", "trigram_buckets"))]


def _tried(planned: Planned) -> list[str]:
    """Return a line for each trial: the best of the longest round first."""
    from golfpipe.report.sweep_points import label

    if not planned.trials:
        return []
    keys = _varied(trial.design.settings for trial in planned.trials)
    shown = sorted(planned.trials, key=lambda trial: (-trial.share, trial.bpb))[:MOST_LINES]
    rows = [
        [
            label(trial.design.settings, keys) or "the only one",
            f"{trial.share:.0%}",
            f"{trial.bpb:.4f}" if trial.chosen else "-",
            trial.stopped or f"{max(trial.chosen) - min(trial.chosen):.4f} between seeds",
        ]
        for trial in shown
    ]
    return format_table(["tried", "steps", "bpb", ""], rows)


def _conclusion(planned: Planned) -> list[str]:
    best = planned.ranking[0]
    lines = []
    design = best.design
    if planned.trials:
        winner = planned.trials[-1]
        design = winner.design
        lines = [
            f"winner: {fmean(winner.reported):.4f} bpb on the half of the validation text that chose nothing",
            f"        {winner.bpb:.4f} on the half that chose, {fmean(winner.whole):.4f} on both;"
            f" plot {planned.folder / PLOT_FILE}",
        ]
    if planned.own is not None and planned.own.design is not design:
        parts = planned.law.parts(design.features(), planned.own.design.features())
        listed = ", ".join(f"{name} {value:+.3f}" for name, value in parts.items() if abs(value) >= 0.0005)
        lines.append(f"why: against the preset's own design, {listed}")
    return [*lines, f"train it: {planned.command(design)}"]


def _write_plot(planned: Planned) -> None:
    from golfpipe.report.plan_picture import DesignLine, plan_png
    from golfpipe.report.sweep_points import label
    from golfpipe.store.files import write_file

    scored = [trial for trial in planned.trials if trial.chosen]
    if not scored:
        return
    winner, first = planned.trials[-1], planned.ranking[0]
    keys = _varied(one.design.settings for one in planned.ranking)
    lines = []
    for design in dict.fromkeys(id(trial.design) for trial in scored):
        own = sorted((trial for trial in scored if id(trial.design) == design), key=lambda trial: trial.share)
        lines.append(
            DesignLine(
                label=label(own[0].design.settings, keys),
                points=[(trial.train_seconds or 0.0, trial.bpb) for trial in own],
                is_winner=own[0].design is winner.design,
                reported=fmean(own[-1].reported) if own[0].design is winner.design else None,
            )
        )
    if first.design.settings not in [trial.design.settings for trial in scored]:
        point = [(planned.task.seconds, first.bpb)]
        lines.append(
            DesignLine(
                label=label(first.design.settings, keys), points=point, is_winner=False, is_estimate=True,
                error=first.error,
            )
        )  # fmt: skip
    write_file(planned.folder / PLOT_FILE, plan_png(lines))
