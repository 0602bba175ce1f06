"""The numbers of a records folder in one place: for scripts, and as a line of a board."""

from __future__ import annotations

import statistics
from typing import Any

from golfpipe.records.evidence import Counted, Run, largest
from golfpipe.records.folder import Reading


def metrics(reading: Reading) -> dict[str, Any]:
    """Return seeds, mean score, the largest sizes and times, and every statement with its source."""
    runs = reading.counting.runs
    return {
        "seeds": [run.seed for run in runs if run.seed is not None],
        "val_bpb": mean_score(reading),
        "val_bpb_per_seed": {str(run.seed): run.score.value for run in runs if run.score and run.seed is not None},
        "val_loss_nats": _mean([run.loss.value for run in runs if run.loss is not None]),
        "total_bytes": whole(largest([run.total for run in runs])),
        "code_bytes": whole(largest([run.code for run in runs])),
        "packed_bytes": whole(largest([run.model for run in runs])),
        "train_seconds": _value(largest([run.train for run in runs])),
        "eval_seconds": _value(largest([run.evaluation for run in runs])),
        "statements": statements(reading),
    }


def scores(reading: Reading) -> list[float]:
    """Return val_bpb of every seed that has one, else the one that the record states."""
    found = [run.score.value for run in reading.counting.runs if run.score is not None]
    return found or [statement.value for statement in reading.record.of("val_bpb", None)[:1]]


def mean_score(reading: Reading) -> float | None:
    """Return the mean of the seeds."""
    return _mean(scores(reading))


def statements(reading: Reading) -> list[dict[str, Any]]:
    """Return everything that was found. Of many lines of one kind in a log the last is there, and what counts."""
    counted = {id(statement) for run in reading.counting.runs for statement in run.counted}
    found = [statement.as_json(id(statement) in counted) for statement in reading.record.statements]
    for run in reading.counting.runs:
        found += [statement | {"seed": run.seed} for statement in _of_run(run, counted)]
    return found


def _of_run(run: Run, counted: set[int]) -> list[dict[str, Any]]:
    found = []
    for log in run.logs:
        last = {(statement.quantity, statement.label): statement for statement in log.statements}
        kept = [s for s in log.statements if id(s) in counted or last[s.quantity, s.label] is s]
        found += [statement.as_json(id(statement) in counted) for statement in kept]
    files = [s for s in run.counted if s.label == "size of the file"]
    return found + [statement.as_json(True) for statement in dict.fromkeys(files)]


def whole(counted: Counted | None) -> int | None:
    """Return a number of bytes."""
    return int(counted.value) if counted is not None else None


def _value(counted: Counted | None) -> float | None:
    return counted.value if counted is not None else None


def _mean(values: list[float]) -> float | None:
    return round(statistics.fmean(values), 10) if values else None
