"""One-sided t-tests of whether the seeds improve on a standing record (docs/rules.md, Significance).

The challenge asks for 0.005 nats per token at p < 0.01: Welch's test where the record's seeds are known, else a
one-sample test against the record's number. Nats per token are those of this submission's tokens; the record's bits per
byte are converted with this submission's own ratio, because another tokenizer's nats per token say nothing here.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

MARGINS_NATS = (0.005, 0.0)
"""The challenge's margin, and that of later reviews, which used none."""
LEVEL = 0.01
MAX_SEEDS = 200
"""The most seeds that are suggested."""
USUAL_SEEDS = 3


@dataclass(frozen=True, kw_only=True)
class TestResult:
    """A one-sided test. p is the chance of seeds this good if the improvement were no more than the margin."""

    __test__ = False  # pytest would collect a class of this name

    t: float
    degrees_of_freedom: float
    p: float


@dataclass(frozen=True, kw_only=True)
class MarginTest:
    """The answer to whether this submission is better than the record by more than a margin."""

    margin_bpb: float
    margin_nats: float
    welch: TestResult | None
    """None: the record's seeds, or enough of this submission's, are not known."""
    one_sample: TestResult | None
    enough: bool
    seeds_suggested: int | None
    """In all, for p below the level if mean and spread stay as they are; None: no number would do, or not known."""
    verdict: str


@dataclass(frozen=True, kw_only=True)
class Significance:
    """A comparison with a record. Differences are positive where this submission is better."""

    record_name: str
    record_bpb: tuple[float, ...]
    """The record's scores per seed; one number where only the mean is known."""
    record_mean_bpb: float
    mean_bpb: float
    seeds: int
    nats_per_bpb: float
    difference_bpb: float
    difference_nats: float
    level: float
    margins: tuple[MarginTest, ...]
    """The challenge's 0.005 nats per token, and none, which later reviews asked for."""

    @property
    def enough(self) -> bool:
        """True if the submission is better by the challenge's own margin."""
        return self.margins[0].enough

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def significance(
    bpb: Sequence[float], nats: Sequence[float], record_bpb: Sequence[float], record_name: str = ""
) -> Significance:
    """Compare a submission with a record. `bpb` and `nats` hold a value per seed of the submission, `record_bpb` one
    per seed of the record, or its mean alone."""
    nats_per_bpb = statistics.fmean(nats) / statistics.fmean(bpb)
    mean, record_mean = statistics.fmean(bpb), statistics.fmean(record_bpb)
    return Significance(
        record_name=record_name,
        record_bpb=tuple(record_bpb),
        record_mean_bpb=record_mean,
        mean_bpb=mean,
        seeds=len(bpb),
        nats_per_bpb=nats_per_bpb,
        difference_bpb=record_mean - mean,
        difference_nats=(record_mean - mean) * nats_per_bpb,
        level=LEVEL,
        margins=tuple(_margin_test(bpb, record_bpb, margin, nats_per_bpb) for margin in MARGINS_NATS),
    )


def _margin_test(
    bpb: Sequence[float], record_bpb: Sequence[float], margin_nats: float, nats_per_bpb: float
) -> MarginTest:
    margin = margin_nats / nats_per_bpb
    record_mean = statistics.fmean(record_bpb)
    spread = _spread(bpb)
    welch = one_sample = None
    if spread is not None and spread > 0:
        one_sample = _one_sample(bpb, record_mean - margin)
        if len(record_bpb) > 1:
            welch = _welch(bpb, [value - margin for value in record_bpb])
    deciding = welch or one_sample
    enough = deciding is not None and deciding.p < LEVEL
    gain = record_mean - margin - statistics.fmean(bpb)
    suggested = _seeds_suggested(gain, spread, len(bpb), record_bpb if welch is not None else ())
    return MarginTest(
        margin_bpb=margin,
        margin_nats=margin_nats,
        welch=welch,
        one_sample=one_sample,
        enough=enough,
        seeds_suggested=suggested,
        verdict=_verdict(enough, gain, spread, len(bpb), suggested, margin_nats),
    )


def _one_sample(values: Sequence[float], bound: float) -> TestResult:
    from scipy import stats

    found = stats.ttest_1samp(values, bound, alternative="less")
    return TestResult(t=float(found.statistic), degrees_of_freedom=float(found.df), p=float(found.pvalue))


def _welch(values: Sequence[float], record: Sequence[float]) -> TestResult:
    from scipy import stats

    found = stats.ttest_ind(values, record, equal_var=False, alternative="less")
    return TestResult(t=float(found.statistic), degrees_of_freedom=float(found.df), p=float(found.pvalue))


def _spread(values: Sequence[float]) -> float | None:
    """Return the sample standard deviation: 0 where the values agree to the last digits, None for one value."""
    if len(values) < 2:
        return None
    deviation = statistics.stdev(values)
    return 0.0 if deviation < 1e-12 * abs(statistics.fmean(values)) else deviation


def _seeds_suggested(gain: float, spread: float | None, seeds: int, record: Sequence[float]) -> int | None:
    """Return the fewest seeds that would be enough with this gain over the margin and this spread, or None."""
    from scipy import stats

    if spread is None or spread == 0 or gain <= 0:
        return None
    record_part = statistics.variance(record) / len(record) if len(record) > 1 else 0.0
    for count in range(max(2, seeds if seeds > 2 else 2), MAX_SEEDS + 1):
        own_part = spread**2 / count
        freedom: float = count - 1
        if record_part:
            freedom = (own_part + record_part) ** 2 / (own_part**2 / (count - 1) + record_part**2 / (len(record) - 1))
        if stats.t.sf(gain / math.sqrt(own_part + record_part), freedom) < LEVEL:
            return count
    return None


def _verdict(enough: bool, gain: float, spread: float | None, seeds: int, suggested: int | None, margin: float) -> str:
    better = f"an improvement of {margin:g} nats per token" if margin else "any improvement"
    asked = f"{better} at p < {LEVEL:g}"
    if enough:
        return f"Enough: the seeds show {asked}."
    if gain <= 0:
        by = f"{margin:g} nats per token better" if margin else "better"
        return f"Not enough: the mean is not {by} than the record, so no number of seeds shows {asked}."
    if spread is None:
        return f"Not enough: one seed has no spread, so there is no test of {asked}; {USUAL_SEEDS - 1} more are usual."
    if spread == 0:
        return f"Not enough: the seeds agree to the last digit, so they are no sample, and there is no test of {asked}."
    if suggested is None:
        return f"Not enough for {asked}: with this spread more than {MAX_SEEDS} seeds would be needed."
    more = max(1, suggested - seeds)
    return f"Not enough for {asked}: with this mean and spread about {suggested} seeds would be, {more} more."
