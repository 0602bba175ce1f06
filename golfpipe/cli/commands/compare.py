"""`golfpipe compare EVALUATION EVALUATION`"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from golfpipe.cli.answer import Answer
from golfpipe.cli.command import input_path
from golfpipe.cli.options import OutputOptions
from golfpipe.cli.table import format_table

if TYPE_CHECKING:
    from golfpipe.submission.comparison import Comparison


def compare(
    first: Annotated[str, typer.Argument(metavar="FIRST", help="Evaluation (artifact folder).")],
    second: Annotated[str, typer.Argument(metavar="SECOND", help="Evaluation of the same text in the same windows.")],
    options: OutputOptions,
    resamples: Annotated[int, typer.Option(min=100, max=1_000_000, help="Draws of the bootstrap.")] = 10_000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the draws.")] = 0,
) -> Answer:
    """Say whether one score is better than another, or whether it is noise.

    Reads two evaluations of the same token data in the same windows. Writes nothing. A paired bootstrap over documents
    gives the difference in bits per byte (second minus first, negative is better), its 95 % interval and p. It measures
    what chance in the choice of documents can do, not in the training seed.

    \b
    Examples:
      golfpipe compare artifacts/demo/evaluate-train artifacts/demo/evaluate-pack
      golfpipe compare artifacts/demo/evaluate-pack artifacts/a/evaluate-pack
    """
    from golfpipe.submission.comparison import compare_evaluations

    comparison = compare_evaluations(input_path(first), input_path(second), resamples=resamples, seed=seed)
    paired = comparison.paired
    rows = [
        ["first", f"{comparison.scores[0]:.6f}", str(comparison.first.path)],
        ["second", f"{comparison.scores[1]:.6f}", str(comparison.second.path)],
        ["difference", f"{paired.difference:+.6f}", f"{paired.confidence:.0%} interval {_interval(comparison)}"],
    ]
    about = (
        f"{paired.documents:,} documents: the second is better in {paired.documents_better:,},"
        f" worse in {paired.documents_worse:,}; p = {paired.p_value:.2g} ({paired.resamples:,} resamples, seed {seed})"
    )
    return Answer(
        lines=[*format_table(["", "val_bpb", ""], rows), about, _verdict(comparison)],
        path=comparison.second.path,
        kind="evaluation",
        digest=comparison.second.manifest.digest,
        metrics=asdict(paired) | {"first_val_bpb": comparison.scores[0], "second_val_bpb": comparison.scores[1]},
        extra={"significant": comparison.is_significant},
    )


def _interval(comparison: Comparison) -> str:
    return f"{comparison.paired.low:+.6f} to {comparison.paired.high:+.6f}"


def _verdict(comparison: Comparison) -> str:
    if comparison.paired.difference == 0 and comparison.paired.low == comparison.paired.high == 0:
        return "the scores are the same in every document"
    if not comparison.is_significant:
        return "no difference that these documents can show: the interval holds 0"
    return f"the second is {'better' if comparison.paired.difference < 0 else 'worse'}: the interval leaves out 0"
