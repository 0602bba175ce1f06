"""What the clock decided in an earlier run, for another one to repeat: lr factors, and the starts of QAT, of longer
context and of loops."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from golfpipe.errors import DataError

HINT = "give the log.jsonl of a trained model, or its folder; this lists the runs: golfpipe ls"


@dataclass(frozen=True, slots=True)
class Replay:
    """What the clock decided in an earlier run."""

    lr_factors: tuple[float, ...]
    """The learning-rate factor of each step."""
    qat_first_step: int | None
    """The number of steps finished when quantization-aware training began; None where it never did."""
    context_first_steps: tuple[int, ...] = ()
    """The number of steps finished when each length of train.context_growth after the first began."""
    loop_first_step: int | None = None
    """The number of steps finished when the looped layers began to run several times; None where none do."""


def parse_replay(lines: Iterable[str], name: str) -> Replay:
    """Read the JSON lines of a finished run's log. Raises DataError naming `name` and the line."""
    factors: list[float] = []
    end: dict[str, Any] = {}
    for number, line in enumerate(lines, start=1):
        try:
            record = json.loads(line)
            kind = record["type"]
            if kind == "step":
                factors.append(_factor(record["lr_factor"]))
                if type(record["step"]) is not int or record["step"] != len(factors):
                    raise ValueError(f"step {str(record['step'])[:30]} follows step {len(factors) - 1}")
            elif kind == "end":
                end = record
        except (ValueError, KeyError, TypeError, RecursionError, OverflowError) as error:
            raise DataError(f"{name}, line {number}: not a line of a training log ({error})", hint=HINT) from error
    if not factors or type(end.get("steps")) is not int or end["steps"] != len(factors):
        raise DataError(f"{name}: not the log of a finished run", hint=HINT)
    firsts = {field: end.get(field) for field in ("qat_first_step", "loop_first_step")}
    for field, first in firsts.items():
        if first is not None and (type(first) is not int or not 0 <= first <= len(factors)):
            raise DataError(f"{name}: field {field} of the last line is no step of this run")
    grown = end.get("context_first_steps", [])
    if not isinstance(grown, list) or any(type(step) is not int or not 0 <= step <= len(factors) for step in grown):
        raise DataError(f"{name}: field context_first_steps of the last line has no steps of this run")
    return Replay(tuple(factors), context_first_steps=tuple(grown), **firsts)


def _factor(value: object) -> float:
    """Return an lr factor as a float. Raises ValueError for a value that no schedule gives."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1e6:
        raise ValueError(f"lr_factor {str(value)[:30]} is no factor")
    return float(value)
