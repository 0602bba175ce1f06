"""Repeating a run that the clock had steered: its learning-rate factors and the step at which quantization began."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass

from golfpipe.errors import DataError


@dataclass(frozen=True, slots=True)
class Replay:
    """What the clock decided in an earlier run."""

    lr_factors: tuple[float, ...]
    """One per step."""
    qat_first_step: int | None
    """Finished steps when quantization-aware training began; None where it never did."""


def parse_replay(lines: Iterable[str], name: str) -> Replay:
    """Read the JSON lines of a finished run's log. Raises DataError naming `name` and the line."""
    factors: list[float] = []
    end: dict = {}
    for number, line in enumerate(lines, start=1):
        try:
            record = json.loads(line)
            kind = record["type"]
            if kind == "step":
                factors.append(float(record["lr_factor"]))
                if record["step"] != len(factors) or not math.isfinite(factors[-1]):
                    raise ValueError(f"step {record['step']} follows step {len(factors) - 1}")
            elif kind == "end":
                end = record
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"{name}, line {number}: not a line of a training log ({error})") from error
    if not factors or end.get("steps") != len(factors):
        raise DataError(f"{name}: not the log of a finished run", hint="the log.jsonl of a trained model")
    return Replay(tuple(factors), end.get("qat_first_step"))
