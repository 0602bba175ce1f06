"""`golfpipe import FILE.pt`"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from golfpipe.cli.answer import Answer
from golfpipe.cli.command import context_of, input_path, output_path, settings_of, work
from golfpipe.cli.options import StageOptions
from golfpipe.cli.table import format_metric, format_table, paragraphs
from golfpipe.store.metric_values import measured

if TYPE_CHECKING:
    from golfpipe.pipeline.importing import ImportPlan


def import_checkpoint(
    file: Annotated[str, typer.Argument(help="A state dict saved by torch.save, e.g. final_model.pt.")],
    options: StageOptions,
    name: Annotated[str | None, typer.Option(help="Name of the run; default that of the file.")] = None,
    check: Annotated[
        str | None, typer.Option(metavar="DATA", help="Token data to score the imported model on.")
    ] = None,
) -> Answer:
    """Import a checkpoint of the pull request's script (final_model.pt).

    Names and shapes show the architecture. What they do not show (activation, rotary settings, softcap, exclusive
    attention, document boundaries) comes from --preset and --set, and is listed as assumed. Without --preset, a preset
    of the file's shape is used.

    Reads the file without running anything in it. Writes a trained_model in artifacts/NAME/import.

    \b
    Examples:
      golfpipe import final_model.pt --preset 16l
      golfpipe import final_model.pt --set model.leaky_slope=0 --check artifacts/data/demo
    """
    from golfpipe.pipeline.importing import prepare_import
    from golfpipe.pipeline.single import Request, prepare

    context = context_of(options)
    request = Request(stage="import", settings=settings_of(options), context=context, out=output_path(options.out))
    plan = prepare_import(request, input_path(file), name)
    answer = work(plan.job, options)
    fields: dict[str, Any] = {"inferred": plan.inferred, "assumed": plan.assumed, "assumed_from": plan.origins}
    metrics, parts = dict(answer.metrics), [answer.lines, _architecture(plan)]
    if check is not None and not options.dry_run:
        from golfpipe.jobs.run import run_job

        scored = run_job(
            prepare(
                Request(stage="evaluate", inputs={"model": plan.job.out, "data": input_path(check)}, context=context)
            )
        ).artifact
        found = scored.manifest.metrics
        names = ("val_loss_nats", "val_bpb", "scored_targets")
        metrics |= {name: measured(found, name) for name in names}
        rows = [[f"  {name}", format_metric(name, measured(found, name))] for name in names]
        parts.append([f"evaluation  {scored.path}", *format_table([], rows)])
        fields["evaluation"] = str(scored.path)
    return replace(answer, lines=paragraphs(*parts), metrics=metrics, extra={**answer.extra, **fields})


def _architecture(plan: ImportPlan) -> list[str]:
    """Return a line per key that says whether it comes from names and shapes, or else where it is assumed from."""
    rows = [[f"  model.{key}", str(value), "names and shapes"] for key, value in plan.inferred.items()]
    rows += [[f"  {key}", str(value), f"assumed: {plan.origins[key]}"] for key, value in plan.assumed.items()]
    return format_table(["  key", "value", "from"], rows)
