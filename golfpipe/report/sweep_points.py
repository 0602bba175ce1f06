"""The results of a sweep as points for the picture: bytes, bits per byte, and what sets each apart."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from golfpipe.report.sweep_designs import are_trained, size_axis
from golfpipe.store.metric_values import count, flag, mapping, number


@dataclass(frozen=True, kw_only=True)
class SweepPoint:
    """A cell that has both a size and a score."""

    label: str
    """The settings in which it differs from other cells, as 'mlp.bits 3, coder range'."""
    total_bytes: int
    x: float
    """What the score is set against: the bytes, or the seconds of training."""
    val_bpb: float
    noise: tuple[float, float] | None
    """Ends of the 95 % interval of its score beside that of the unquantized weights, in bits per byte."""
    pareto: bool
    knee: bool
    fits: bool


@dataclass(frozen=True, kw_only=True)
class SweepPoints:
    """What the picture of a sweep shows."""

    points: list[SweepPoint]
    axis: str
    """The name of the measure `x`: total_bytes or train_seconds."""
    limit: int | None
    """The limit in bytes, where the rows have one and bytes are the axis."""
    unquantized: list[float]
    """The scores of the unquantized weights, one for each way of scoring; none where every cell has weights of its
    own."""


def sweep_points(rows: Sequence[Mapping[str, Any]]) -> SweepPoints:
    """Return what the rows of results.jsonl have for the picture."""
    varied, axis, trained = varied_keys(rows), size_axis(rows), are_trained(rows)
    limits = [limit for row in rows if (limit := count(row, "limit_bytes")) is not None]
    unquantized = {bpb for row in rows if not trained and (bpb := number(row, "unquantized_bpb")) is not None}
    return SweepPoints(
        points=[point for row in rows if (point := _point(row, varied, axis)) is not None],
        axis=axis,
        limit=limits[-1] if limits and axis == "total_bytes" else None,
        unquantized=sorted(unquantized),
    )


def _point(row: Mapping[str, Any], varied: Sequence[str], axis: str) -> SweepPoint | None:
    size, bpb = count(row, "total_bytes"), number(row, "val_bpb")
    if size is None or bpb is None:
        return None
    start, low, high = (number(row, name) for name in ("unquantized_bpb", "low", "high"))
    return SweepPoint(
        label=label(mapping(row, "settings"), varied) or "the only cell",
        total_bytes=size,
        x=number(row, axis) or 0.0,
        val_bpb=bpb,
        noise=(start + low, start + high) if start is not None and low is not None and high is not None else None,
        pareto=flag(row, "pareto") is True,
        knee=flag(row, "knee") is True,
        fits=flag(row, "fits") is not False,
    )


def varied_keys(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the keys of the settings in which the rows differ, in order."""
    keys = dict.fromkeys(key for row in rows for key in mapping(row, "settings"))
    return [key for key in keys if len({_written(mapping(row, "settings").get(key)) for row in rows}) > 1]


def short_names(keys: Sequence[str]) -> dict[str, str]:
    """Return each key without its section, unless another one would then have the same name."""
    short = [key.partition(".")[2] or key for key in keys]
    return {key: name if short.count(name) == 1 else key for key, name in zip(keys, short, strict=True)}


def label(settings: Mapping[str, Any], keys: Sequence[str]) -> str:
    """Return the settings of those keys as text: 'mlp.bits 3, coder range'."""
    return ", ".join(
        f"{name} {shown_value(settings[key])}" for key, name in short_names(keys).items() if key in settings
    )


def shown_value(value: Any) -> str:
    """Return the value of a setting as people write it."""
    return value if isinstance(value, str) else _written(value)


def _written(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)
