"""`golfpipe evaluate merge PART...`"""

from __future__ import annotations

from typing import Annotated

import typer

from golfpipe.cli.answer import Answer
from golfpipe.cli.command import input_path, stage_request, work
from golfpipe.cli.options import StageOptions


def evaluate_merge(
    parts: Annotated[
        list[str], typer.Argument(metavar="PART...", help="All folders that `evaluate --shard` wrote, in any order.")
    ],
    options: StageOptions,
) -> Answer:
    """Put the parts of an evaluation together.

    Reads partial_evaluations, one per shard, with the model and token_data that they name. Writes the evaluation that
    `golfpipe evaluate` without --shard would, by default beside the first part. Parts that are missing, given twice, or
    of another model, data or settings are refused.

    \b
    Examples:
      golfpipe evaluate artifacts/demo/pack --shard 1/2
      golfpipe evaluate artifacts/demo/pack --shard 2/2
      golfpipe evaluate merge artifacts/demo/evaluate-pack-shard-*
      golfpipe evaluate merge artifacts/demo/evaluate-pack-shard-* -o merged
    """
    from golfpipe.pipeline.single import prepare_merge

    request = stage_request("evaluate", options, inputs={})
    return work(prepare_merge([input_path(part) for part in parts], request), options)
