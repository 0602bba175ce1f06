"""What a sweep comes to, in words: what was packed, the best cell, and the knee with the commands that take it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from golfpipe.report.sweep_points import SweepPoint, sweep_points
from golfpipe.store.metric_values import count, flag, number, text
from golfpipe.units import format_bytes

RULE = (
    "every smaller cell loses more than its saved bytes would be worth if they held weights (1 % of the bytes is worth"
    " 0.076 % of the bits per byte)"
)
"""The knee's rule (`frontier.knee_index`) in words."""


class SweepSummary(NamedTuple):
    """The conclusions of a sweep. What its cells do not tell is None or empty."""

    packed: str
    """How many cells were packed, and to which sizes."""
    best: str | None
    knee: str | None
    rule: str | None
    """Why the knee is the knee."""
    commands: list[str]
    """Shell commands that make the knee's model once more, or the best one of trainings, in a run folder of its own."""
    no_noise: str | None
    """Why differences have no noise, where one has none."""


def summarize(rows: Sequence[Mapping[str, Any]]) -> SweepSummary:
    """Return the conclusions of the rows of results.jsonl."""
    points = sweep_points(rows).points
    fitting = [point for point in points if point.fits] or points
    best = min(fitting, key=lambda point: (point.val_bpb, point.total_bytes), default=None)
    row_of_best = next((row for row in rows if best is not None and _place_of(row) == _place(best)), None)
    knee = next((point for point in points if point.knee), None)
    return SweepSummary(
        packed=_packed(rows),
        best=_best(best, row_of_best) if best is not None and row_of_best is not None else None,
        knee=_knee(knee, best) if knee is not None and best is not None else None,
        rule=RULE if knee is not None else None,
        commands=_commands(next((row for row in rows if flag(row, "knee")), row_of_best or {})),
        no_noise=next((why for row in rows if (why := text(row, "no_noise")) is not None), None),
    )


def _packed(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return '12 cells, 12 packed: 554,538 to 671,649 B, of which 46,000 B for the code; limit 16,000,000 B'."""
    sizes = [size for row in rows if (size := count(row, "total_bytes")) is not None]
    cells = f"{len(rows)} cells" if len(rows) > 1 else "1 cell"
    if not sizes:
        return f"{cells}, none packed"
    span = format_bytes(sizes[0]) if min(sizes) == max(sizes) else f"{min(sizes):,} to {format_bytes(max(sizes))}"
    parts = [f"{cells}, {len(sizes)} packed: {span}"]
    pairs = [(count(row, "total_bytes"), count(row, "packed_bytes")) for row in rows]
    codes = {total - packed for total, packed in pairs if total is not None and packed is not None}
    if len(codes) == 1:
        parts.append(f"{format_bytes(codes.pop())} of them for the code")
    limit = next((limit for row in rows if (limit := count(row, "limit_bytes")) is not None), None)
    over = sum(flag(row, "fits") is False for row in rows)
    if limit is not None:
        parts.append(f"{over or 'none'} over the limit of {format_bytes(limit)}")
    return ", ".join(parts)


def _place_of(row: Mapping[str, Any]) -> tuple[float | None, int | None]:
    return number(row, "val_bpb"), count(row, "total_bytes")


def _best(best: SweepPoint, row: Mapping[str, Any]) -> str:
    against = difference_text(row)
    beside = f", {against} bpb against the unquantized weights" if against is not None else ""
    return f"{best.label}: {best.val_bpb:.4f} bpb, {format_bytes(best.total_bytes)}{beside}"


def _place(point: SweepPoint) -> tuple[float, int]:
    return point.val_bpb, point.total_bytes


def _knee(knee: SweepPoint, best: SweepPoint) -> str:
    """Return 'mlp.bits 4: 583,310 B, +0.0031 bpb against the best, 141,210 B smaller'."""
    if _place(knee) == _place(best):
        return f"{knee.label}: the best itself"
    saved = best.total_bytes - knee.total_bytes
    return (
        f"{knee.label}: {format_bytes(knee.total_bytes)}, {knee.val_bpb - best.val_bpb:+.4f} bpb against the best,"
        f" {format_bytes(saved)} smaller"
    )


def difference_text(row: Mapping[str, Any]) -> str | None:
    """Return the difference from the unquantized weights with half of its 95 % interval, as '+0.0017 +-0.0004'; None
    where there is none."""
    difference, low, high = (number(row, name) for name in ("difference", "low", "high"))
    if difference is None:
        return None
    noise = f" +-{(high - low) / 2:.4f}" if low is not None and high is not None else ""
    return f"{difference:+.4f}{noise}"


def _commands(row: Mapping[str, Any]) -> list[str]:
    """Return the commands of the row, quoted anew: whatever the file says, a shell sees only words of golfpipe."""
    commands = row.get("commands")
    found = [words for words in commands if isinstance(words, list)] if isinstance(commands, list) else []
    return [shlex.join(map(str, words)) for words in found if words[:1] == ["golfpipe"]]
