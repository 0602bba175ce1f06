"""train_seed<N>.log: the training log, completed with what was packed and scored, and read back to compare."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from golfpipe.submission.seed_results import SeedResult
from golfpipe.training.log_lines import calibration_line, score_line, size_lines

# Quantifiers are bounded, because a log may be anybody's: no text makes a search quadratic.
_FINAL = re.compile(
    r"(?:val_loss[ \t]{0,9}[:=][ \t]{0,9}([0-9.]{1,30}(?:e[-+]?\d{1,3})?)[ \t,|]{1,9})?"
    r"val_bpb[ \t]{0,9}[:=][ \t]{0,9}([0-9.]{1,30}(?:e[-+]?\d{1,3})?)",
    re.IGNORECASE,
)
_TOTAL = re.compile(r"total submission size[^:\n]{0,80}:[ \t]{0,9}([\d,_]{1,20})", re.IGNORECASE)
_CODE = re.compile(r"^.{0,40}code size[^:\n]{0,40}:[ \t]{0,9}([\d,_]{1,20})", re.IGNORECASE | re.MULTILINE)
_SEED = re.compile(r"^[ \t]{0,9}seed[ \t]{0,9}[:=][ \t]{0,9}(\d{1,18})", re.IGNORECASE | re.MULTILINE)
_TRAIN_TIME = re.compile(r"train_time[ \t]{0,9}[:=][ \t]{0,9}([0-9.]{1,20})[ \t]?(ms|s)\b", re.IGNORECASE)
_EVAL_TIME = re.compile(r"eval_time[ \t]{0,9}[:=][ \t]{0,9}([0-9.]{1,20})[ \t]?(ms|s)\b", re.IGNORECASE)
_VAL_TOKENS = re.compile(r"val_loader[^\n]{0,400}?tokens[ \t]{0,9}[:=][ \t]{0,9}(\d{1,18})", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class LoggedNumbers:
    """The last number of each kind in a log; None where there is none."""

    seed: int | None
    val_loss: float | None
    val_bpb: float | None
    total_bytes: int | None
    val_loss_decimals: int = 0
    val_bpb_decimals: int = 0
    code_bytes: int | None = None
    train_seconds: float | None = None
    eval_seconds: float | None = None
    val_tokens: int | None = None
    """The targets of the validation split, as the challenge's scripts count them."""


def complete_log(training_log: str | None, result: SeedResult, *, coder: str, code_measured: bool, method: str) -> str:
    """Return the log of one seed. Without a training log (imported weights) it says so."""
    lines = [training_log.rstrip("\n")] if training_log else [
        f"seed:{result.seed}",
        f"model_params:{result.parameters if result.parameters is not None else 'unknown'}",
        "no training log: the weights were imported",
    ]  # fmt: skip
    if training_log and _SEED.search(training_log) is None:
        lines.insert(0, f"seed:{result.seed}")
    note = "" if code_measured else " (reserved: the folder holds no train_gpt.py)"
    if result.calibration_seconds:
        lines.append(calibration_line(result.calibration_seconds))
    lines.append(size_lines(coder, result.model_bytes, result.code_bytes, note))
    lines.append(score_line(method, result.val_loss_nats, result.val_bpb, result.eval_seconds))
    return "\n".join(lines) + "\n"


def read_log(text: str) -> LoggedNumbers:
    """Return the numbers of a log. The last line of each kind counts: scripts log sizes and scores more than once."""
    scores, totals, codes, seed = _FINAL.findall(text), _TOTAL.findall(text), _CODE.findall(text), _SEED.search(text)
    loss, bpb = next((pair for pair in reversed(scores) if pair[0]), ("", ""))
    last_bpb = scores[-1][1] if scores else ""
    if last_bpb and _float(last_bpb) != _float(bpb):
        loss = ""  # the loss belongs to an earlier score than the last
    tokens = _VAL_TOKENS.findall(text)
    return LoggedNumbers(
        seed=int(seed.group(1)) if seed else None,
        val_loss=_float(loss),
        val_bpb=_float(last_bpb),
        total_bytes=_count(totals[-1]) if totals else None,
        val_loss_decimals=_decimals(loss),
        val_bpb_decimals=_decimals(last_bpb),
        code_bytes=_count(codes[-1]) if codes else None,
        train_seconds=_seconds(_TRAIN_TIME.findall(text)),
        eval_seconds=_seconds(_EVAL_TIME.findall(text)),
        val_tokens=int(tokens[-1]) if tokens else None,
    )


def differences(
    logged: LoggedNumbers, *, seed: int, val_loss: float | None, val_bpb: float | None, total_bytes: int | None
) -> Sequence[str]:
    """List where a log and the record's numbers for that seed differ; what the log does not say cannot differ."""
    found = []
    if logged.seed is not None and logged.seed != seed:
        found.append(f"seed {seed}: the log says seed {logged.seed}")
    scores = (
        ("val_loss", logged.val_loss, logged.val_loss_decimals, val_loss),
        ("val_bpb", logged.val_bpb, logged.val_bpb_decimals, val_bpb),
    )
    for name, said, decimals, value in scores:
        if said is not None and value is not None and not agree(said, decimals, value):
            found.append(f"seed {seed}: {name} {value:.8f}, the log says {said:.8f}")
    if logged.total_bytes is not None and total_bytes is not None and logged.total_bytes != total_bytes:
        found.append(f"seed {seed}: {total_bytes} bytes, the log says {logged.total_bytes}")
    return found


def agree(said: float, decimals: int, value: float) -> bool:
    """Return True if two numbers are equal when rounded to the fewer decimals of the two."""
    places = min(decimals, _decimals(repr(value)), 8)
    return abs(said - value) <= 0.51 * 10.0**-places


def _decimals(text: str) -> int:
    """Return the number of decimals, as 4 for '1.2250'. With an exponent, return as many as can matter."""
    return 12 if "e" in text.lower() else len(text.partition(".")[2])


def _count(text: str) -> int:
    return int(re.sub(r"[,_]", "", text) or 0)


def _seconds(found: Sequence[tuple[str, str]]) -> float | None:
    """Return the last of the times, in seconds."""
    value = _float(found[-1][0]) if found else None
    return None if value is None else value / 1000 if found[-1][1].lower() == "ms" else value


def _float(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:  # "1.2.3"
        return None
    return value if math.isfinite(value) else None
