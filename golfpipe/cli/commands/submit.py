"""`golfpipe submit EVALUATION...`"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Annotated

import typer

from golfpipe.cli.answer import Answer
from golfpipe.cli.command import input_path, run_stage
from golfpipe.cli.options import StageOptions
from golfpipe.config.submit import Layout, Track
from golfpipe.errors import StageFailed
from golfpipe.store.metric_values import texts


def submit(
    evaluations: Annotated[list[str], typer.Argument(metavar="EVALUATION...", help="One evaluation per seed.")],
    options: StageOptions,
    track: Annotated[
        Track | None,
        typer.Option(
            metavar="TRACK", help="10min_16mb refuses what breaks a rule; non_record_16mb, the default, states it."
        ),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(metavar="RECORD", help="Test against val_bpb of a record's seeds (1.2244,1.2250) or its folder."),
    ] = None,
    launcher: Annotated[
        list[str] | None,
        typer.Option(metavar="WHERE", help="Add a file that starts the script: torchrun, modal or slurm. Repeatable."),
    ] = None,
    layout: Annotated[
        Layout | None,
        typer.Option(help="Form of train_gpt.py: readable or compressed. Its bytes count."),
    ] = None,
    verify: Annotated[
        bool,
        typer.Option("--verify", help="Run train_gpt.py alone at a few steps and compare it with the stages."),
    ] = False,
    execute: Annotated[
        bool,
        typer.Option("--execute", help="Run the scoring methods to check the rules; on track 10min_16mb always."),
    ] = False,
) -> Answer:
    """Write the records folder: README, submission.json, logs, and the script train_gpt.py.

    Reads evaluations. Each names its packed model by digest, which names its trained model. Writes a submission, by
    default in the folder `submit` beside the first evaluation. Every number is copied from manifests.

    \b
    Examples:
      golfpipe submit artifacts/demo/evaluate-pack --set submit.author=Ada
      golfpipe submit artifacts/demo/evaluate-pack --track non_record_16mb
      golfpipe submit artifacts/demo/evaluate-pack --verify
      golfpipe submit artifacts/seed*/evaluate-pack --against 1.224,1.225,1.223
    """
    from golfpipe.jobs.registry import numbered_role

    paths = {numbered_role("evaluation", n): input_path(text) for n, text in enumerate(evaluations, start=1)}
    overrides = ["submit.execute=true"] if execute else []
    if verify:
        overrides.append("submit.verify=true")
    if track is not None:
        overrides.append(f"submit.track={track}")
    if layout is not None:
        overrides.append(f"submit.layout={layout}")
    if launcher:
        overrides.append(f"submit.launchers={json.dumps(list(dict.fromkeys(launcher)))}")
    if against is not None:
        from golfpipe.records.against import against_overrides

        overrides += against_overrides(against)
    return _checked(run_stage("submit", options, inputs=paths, overrides=tuple(overrides)))


def _checked(answer: Answer) -> Answer:
    """Return the answer, with what verifying the script came to: an error if it gave other numbers."""
    verified = answer.metrics.get("script_verified")
    if verified is None:
        return answer
    if verified:
        return replace(answer, lines=[*answer.lines, "train_gpt.py alone gives the stages' numbers to the last digit"])
    listed = "\n".join(f"  {line}" for line in texts(answer.metrics, "script_differences"))
    error = StageFailed(f"train_gpt.py gives other numbers than the stages:\n{listed}", path=str(answer.path))
    return replace(answer, error=error)
