"""The README of a records folder: the headline, the table per seed, what it does, and where it leaves the rules."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from golfpipe.submission.judgment import Judgment
from golfpipe.submission.quoting import render
from golfpipe.submission.record import Heading
from golfpipe.submission.score_parts import Part
from golfpipe.submission.seed_results import SeedResult, largest, spread
from golfpipe.submission.significance import Significance
from golfpipe.units import format_seconds


def readme_text(
    heading: Heading,
    results: Sequence[SeedResult],
    technique: Sequence[str],
    judgment: Judgment,
    *,
    code_measured: bool,
    verification: Mapping[str, Any] | None = None,
    files: Sequence[tuple[str, str]],
    compared: Significance | None = None,
    parts: Sequence[Part] = (),
) -> str:
    """Return the text in Markdown. `files`: name and purpose, in Markdown, of each file beside the README. `parts`:
    those of the mean score."""
    columns = (
        [result.before_quantization_bpb for result in results],
        [result.after_quantization_bpb for result in results],
        [result.after_adaptation_bpb for result in results],
    )
    return render(
        "golfpipe.submission",
        "README.md.j2",
        heading=heading,
        results=results,
        bpb=spread([result.val_bpb for result in results]),
        largest=largest(results),
        times=_times(results),
        means=[_mean(column) for column in columns],
        code_measured=code_measured,
        verification=verification,
        compared=compared,
        parts=parts,
        technique=technique,
        judgment=judgment,
        unchecked_rules=sum(rule.status == "not checked" for rule in judgment.rules),
        files=files,
    )


def _times(results: Sequence[SeedResult]) -> str:
    training = [r.train_seconds for r in results if r.train_seconds is not None]
    evaluation = [r.eval_seconds for r in results if r.eval_seconds is not None]
    parts = [
        f"{label} {format_seconds(max(seconds))}"
        for label, seconds in (("train", training), ("eval", evaluation))
        if seconds
    ]
    return " + ".join(parts) or "times not recorded"


def _mean(values: Sequence[float | None]) -> float | None:
    """Return the mean of a column; None where a seed has no number in it."""
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if len(known) == len(values) else None
