"""`golfpipe import FILE.pt`"""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from golfpipe.cli.answer import Answer
from golfpipe.cli.command import context_of, input_path, output_path, settings_of, work
from golfpipe.cli.options import StageOptions
from golfpipe.cli.table import format_metric, format_table, paragraphs
from golfpipe.errors import UsageError
from golfpipe.store.metric_values import measured

if TYPE_CHECKING:
    from golfpipe.jobs.job import Context
    from golfpipe.pipeline.importing import ImportPlan
    from golfpipe.store.artifact import Artifact


class ImportedAs(StrEnum):
    """What a file of weights is to become."""

    model = "model"
    weights = "weights"


def import_checkpoint(
    file: Annotated[
        str,
        typer.Argument(
            help="A state dict saved by torch.save, e.g. final_model.pt; --as weights: also safetensors, or a folder."
        ),
    ],
    options: StageOptions,
    imported_as: Annotated[
        ImportedAs,
        typer.Option("--as", help="model: golfpipe's own architecture; weights: of any model, without architecture."),
    ] = ImportedAs.model,
    rule: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=RULE", help="With --as weights: e.g. 'qo_bank=split(0)', 'rope.*=exact'. Repeatable."
        ),
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the run; default that of the file.")] = None,
    check: Annotated[
        str | None, typer.Option(metavar="DATA", help="Token data to score the imported model on.")
    ] = None,
) -> Answer:
    """Import a checkpoint of the pull request's script (final_model.pt).

    Names and shapes show the architecture. What they do not show (activation, rotary settings, softcap, exclusive
    attention, document boundaries) comes from --preset and --set, and is listed as assumed. Without --preset, a preset
    of the file's shape is used.

    Reads the file without running anything in it. Writes a trained_model in artifacts/NAME/import. With --as weights it
    takes any tensors, and writes weights, which quantize, pack, unpack, audit, sweep and report take.

    \b
    Examples:
      golfpipe import final_model.pt --preset 16l
      golfpipe import final_model.pt --preset 16l --check artifacts/data/demo
      golfpipe import theirs.safetensors --as weights --rule 'qo_bank=split(0)'
    """
    if imported_as is ImportedAs.weights:
        return _import_weights(file, options, name, rule or [], check)
    if rule:
        raise UsageError("--rule is for weights of any model", hint="golfpipe import FILE --as weights --rule ...")
    from golfpipe.pipeline.importing import prepare_import
    from golfpipe.pipeline.single import Request

    context = context_of(options)
    request = Request(stage="import", settings=settings_of(options), context=context, out=output_path(options.out))
    plan = prepare_import(request, input_path(file), name)
    answer = work(plan.job, options)
    fields: dict[str, Any] = {"inferred": plan.inferred, "assumed": plan.assumed, "assumed_from": plan.origins}
    metrics, parts = dict(answer.metrics), [answer.lines, _architecture(plan)]
    if check is not None and not options.dry_run:
        scored = _score(plan.job.out, input_path(check), context)
        found = scored.manifest.metrics
        names = ("val_loss_nats", "val_bpb", "scored_targets")
        metrics |= {name: measured(found, name) for name in names}
        rows = [[f"  {name}", format_metric(name, measured(found, name))] for name in names]
        parts.append([f"evaluation  {scored.path}", *format_table([], rows)])
        fields["evaluation"] = str(scored.path)
    return replace(answer, lines=paragraphs(*parts), metrics=metrics, extra={**answer.extra, **fields})


def _score(model: Path, data: Path, context: Context) -> Artifact:
    from golfpipe.jobs.run import run_job
    from golfpipe.pipeline.single import Request, prepare

    request = Request(stage="evaluate", inputs={"model": model, "data": data}, context=context)
    return run_job(prepare(request)).artifact


def _import_weights(file: str, options: StageOptions, name: str | None, rules: list[str], check: str | None) -> Answer:
    from golfpipe.pipeline.importing import prepare_weights
    from golfpipe.pipeline.single import Request

    if check is not None:
        raise UsageError("--check scores a model, and weights have no architecture", hint="score them in your script")
    request = Request(
        stage="import-weights",
        settings=settings_of(options),
        context=context_of(options),
        out=output_path(options.out),
    )
    return work(prepare_weights(request, input_path(file), name, rules), options)


def _architecture(plan: ImportPlan) -> list[str]:
    """Return a line per key that says whether it comes from names and shapes, or else where it is assumed from."""
    rows = [[f"  model.{key}", str(value), "names and shapes"] for key, value in plan.inferred.items()]
    rows += [[f"  {key}", str(value), f"assumed: {plan.origins[key]}"] for key, value in plan.assumed.items()]
    return format_table(["  key", "value", "from"], rows)
