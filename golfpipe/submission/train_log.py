"""train_seed<N>.log: the training log, completed with what was packed and scored, and read back for comparison."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from golfpipe.submission.seed_results import SeedResult

RELATIVE_TOLERANCE = 1e-7
"""Logs carry 8 decimals of numbers near 1."""

_FINAL = re.compile(r"val_loss:\s*([0-9.]+(?:e[-+]?\d+)?)\s+val_bpb:\s*([0-9.]+(?:e[-+]?\d+)?)", re.IGNORECASE)
_TOTAL = re.compile(r"total submission size[^:\n]*:\s*([\d,_]+)", re.IGNORECASE)
_SEED = re.compile(r"^\s*seed\s*[:=]\s*(\d+)", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class LoggedNumbers:
    """The last of each kind of line in a log; None where there is none."""

    seed: int | None
    val_loss: float | None
    val_bpb: float | None
    total_bytes: int | None


def complete_log(training_log: str | None, result: SeedResult, *, coder: str, code_measured: bool, method: str) -> str:
    """The log of one seed. Without a training log (imported weights) it says so and begins with what is known."""
    lines = [training_log.rstrip("\n")] if training_log else [
        f"seed:{result.seed}",
        f"model_params:{result.parameters if result.parameters is not None else 'unknown'}",
        "no training log: the weights were imported",
    ]  # fmt: skip
    if training_log and _SEED.search(training_log) is None:
        lines.insert(0, f"seed:{result.seed}")
    note = "" if code_measured else " (reserved: the folder holds no train_gpt.py yet)"
    lines += [
        f"Serialized model {coder}: {result.model_bytes} bytes",
        f"Code size: {result.code_bytes} bytes{note}",
        f"Total submission size {coder}: {result.artifact_bytes} bytes",
    ]
    timed = f" eval_time:{1000 * result.eval_seconds:.0f}ms" if result.eval_seconds is not None else ""
    lines.append(f"final_packed_{method} val_loss:{result.val_loss_nats:.8f} val_bpb:{result.val_bpb:.8f}{timed}")
    return "\n".join(lines) + "\n"


def read_log(text: str) -> LoggedNumbers:
    """What a log says in the end. The last line of each kind counts: scripts log sizes more than once."""
    scores, totals, seed = _FINAL.findall(text), _TOTAL.findall(text), _SEED.search(text)
    return LoggedNumbers(
        seed=int(seed.group(1)) if seed else None,
        val_loss=_float(scores[-1][0]) if scores else None,
        val_bpb=_float(scores[-1][1]) if scores else None,
        total_bytes=int(re.sub(r"[,_]", "", totals[-1]) or 0) if totals else None,
    )


def differences(
    logged: LoggedNumbers, *, seed: int, val_loss: float | None, val_bpb: float | None, total_bytes: int | None
) -> Sequence[str]:
    """Where a log and the record's numbers for that seed part; what the log does not say cannot differ."""
    found = []
    if logged.seed is not None and logged.seed != seed:
        found.append(f"seed {seed}: the log says seed {logged.seed}")
    for name, said, value in (("val_loss", logged.val_loss, val_loss), ("val_bpb", logged.val_bpb, val_bpb)):
        if said is not None and value is not None and abs(said - value) > RELATIVE_TOLERANCE * max(1.0, abs(value)):
            found.append(f"seed {seed}: {name} {value:.8f}, the log says {said:.8f}")
    if logged.total_bytes is not None and total_bytes is not None and logged.total_bytes != total_bytes:
        found.append(f"seed {seed}: {total_bytes} bytes, the log says {logged.total_bytes}")
    return found


def _float(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:  # "1.2.3"
        return None
