"""How far a cell's score lies from that of the unquantized weights, and how much of that the choice of text can do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from golfpipe.errors import GolfpipeError, StageFailed
from golfpipe.report.run_data import read_sweep
from golfpipe.store.artifact import Artifact
from golfpipe.store.metric_values import number, text

RESAMPLES = 1000
"""Draws of the bootstrap: enough for the ends of a 95 % interval."""


@dataclass(frozen=True, kw_only=True)
class Noise:
    """The 95 % interval of a difference in bits per byte, or why there is none."""

    low: float | None = None
    high: float | None = None
    missing: str | None = None


class NoiseTable:
    """The noise of each pair of evaluations, computed once: earlier results in the sweep's folder count."""

    def __init__(self, folder: Path) -> None:
        self.known = dict(_recorded(folder))

    def of(self, unquantized: Artifact, cell: Artifact) -> Noise:
        """Return the noise of the cell's score minus that of the unquantized weights."""
        pair = (unquantized.manifest.digest, cell.manifest.digest)
        if pair not in self.known:
            self.known[pair] = _bootstrap(unquantized, cell)
        return self.known[pair]


def _bootstrap(unquantized: Artifact, cell: Artifact) -> Noise:
    """Return the interval of the paired bootstrap over documents. What forbids it costs the interval alone."""
    try:
        from golfpipe.submission.comparison import compare_evaluations

        paired = compare_evaluations(unquantized.path, cell.path, resamples=RESAMPLES).paired
    except StageFailed as error:  # scipy is not installed
        return Noise(missing=f"{error.message}; {error.hint}")
    except GolfpipeError as error:
        return Noise(missing=error.message)
    return Noise(low=paired.low, high=paired.high)


def _recorded(folder: Path) -> Iterator[tuple[tuple[str, str], Noise]]:
    for row in read_sweep(folder):
        pair = text(row, "unquantized_digest"), text(row, "digest")
        low, high = number(row, "low"), number(row, "high")
        if pair[0] is not None and pair[1] is not None and low is not None and high is not None:
            yield (pair[0], pair[1]), Noise(low=low, high=high)
