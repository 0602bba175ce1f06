"""A score taken apart: the bits per byte that model, tokenizer, windows, quantization and test-time training add."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from golfpipe.config.later import with_idle
from golfpipe.config.override import override_text
from golfpipe.loading.lineage import Lineage
from golfpipe.loading.siblings import after_adaptation, after_quantization, before_quantization, side_by_side
from golfpipe.store.metric_values import mapping, number


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Scores of one text in bits per byte. None: not evaluated."""

    final: float
    final_nats: float
    """The same score in nats per token."""
    trained: float | None
    packed: float | None
    """Both in the windows of the final score, without test-time training."""
    window_change: Fraction | None
    """The score in those windows less that in windows side by side, of one form of the model."""
    adapted: bool
    """True if test-time training had a part in the final score."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """What one thing adds to the score."""

    name: str
    bpb: Fraction | None
    """Bits per byte; None where it is not measured apart, and so part of the next one that is."""
    about: str = ""


def score_parts(scores: Scores) -> list[Part]:
    """Return the parts, whose sum is exactly the final score.

    The model's part is its bits per *token* in windows side by side. The tokenizer's turns them into bits per byte:
    a token stands for several. The others are differences to what the step before them scored.
    """
    levels = [scores.trained, scores.packed if scores.adapted else scores.final, scores.final]
    quantized, adapted = _steps(levels)
    bytes_per_token = Fraction(scores.final_nats / math.log(2)) / Fraction(scores.final)
    first = next(level for level in levels if level is not None)
    base = Fraction(first) - (scores.window_change or 0)
    return [
        Part(name="model", bpb=base * bytes_per_token, about="bits per token"),
        Part(
            name="tokenizer", bpb=base - base * bytes_per_token, about=f"{float(bytes_per_token):.3f} bytes per token"
        ),
        Part(name="window", bpb=scores.window_change),
        Part(name="quantization", bpb=quantized),
        Part(name="test-time training", bpb=adapted)
        if scores.adapted
        else Part(name="test-time training", bpb=Fraction(0), about="none in this score"),
    ]


def _steps(levels: Sequence[float | None]) -> list[Fraction | None]:
    """Return what each level but the first adds to the last known one; None for one that is not known, and for the
    first that is."""
    found: list[Fraction | None] = []
    before = levels[0]
    for level in levels[1:]:
        found.append(Fraction(level) - Fraction(before) if level is not None and before is not None else None)
        before = level if level is not None else before
    return found


def mean_parts(seeds: Sequence[Scores]) -> list[Part]:
    """Return the parts of the mean score of several seeds. What one of them lacks is not told apart for any."""
    names = ("trained", "packed", "window_change")
    lacking: dict[str, Any] = {name: None for name in names if any(getattr(seed, name) is None for seed in seeds)}
    columns = zip(*(score_parts(replace(seed, **lacking)) for seed in seeds), strict=True)
    return [
        replace(column[0], bpb=sum((part.bpb or 0 for part in column), Fraction()) / len(column))
        if column[0].bpb is not None
        else column[0]
        for column in columns
    ]


def parts_of(lineages: Sequence[Lineage]) -> list[Part]:
    """Return the parts of the mean score of the evaluations at the head of these chains; none where one has no score.
    A part that is not measured names the command that does it."""
    scores = [found for lineage in lineages if (found := _scores(lineage)) is not None]
    if len(scores) < len(lineages):
        return []
    return [
        part
        if part.bpb is not None
        else replace(part, about=next(filter(None, (_command(part.name, each) for each in lineages)), ""))
        for part in mean_parts(scores)
    ]


def _scores(lineage: Lineage) -> Scores | None:
    metrics = lineage.evaluation.manifest.metrics if lineage.evaluation is not None else {}
    final, nats = number(metrics, "val_bpb"), number(metrics, "val_loss_nats")
    if not final or nats is None:
        return None
    return Scores(
        final=final,
        final_nats=nats,
        trained=before_quantization(lineage),
        packed=after_quantization(lineage),
        window_change=side_by_side(lineage),
        adapted=after_adaptation(lineage) is not None,
    )


def _command(part: str, lineage: Lineage) -> str:
    """Return the command that measures a part of the score; empty where nothing is missing, or the model is."""
    apart, forms = part == "window", [(lineage.trained, before_quantization), (lineage.packed, after_quantization)]
    missing = side_by_side(lineage) is None
    wanting = (form for form, score in forms if form is not None and (missing if apart else score(lineage) is None))
    model = next(wanting, None)
    if model is None or lineage.evaluation is None:
        return ""
    wanted = mapping(lineage.evaluation.manifest.config, "evaluate") | ({"method": "chunked"} if apart else {})
    own, shown = mapping(with_idle(model.manifest.config), "evaluate"), _below_here(model.path)
    words = ["-o", str(shown.with_name(f"evaluate-{shown.name}-side-by-side"))] if apart else []
    for key, value in wanted.items():
        if own.get(key) != value:
            words += ["--set", f"evaluate.{key}={override_text(f'evaluate.{key}', value)}"]
    return shlex.join(["golfpipe", "evaluate", str(shown), *words])


def _below_here(path: Path) -> Path:
    whole, here = path.resolve(), Path.cwd().resolve()
    return whole.relative_to(here) if whole.is_relative_to(here) else whole
