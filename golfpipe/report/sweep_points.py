"""The results of a sweep as points for the picture: bytes, bits per byte, and what sets each apart."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from golfpipe.report.run_data import SWEEP_RESULTS
from golfpipe.store.metric_values import count, flag, mapping, number

MAX_RESULT_BYTES = 64_000_000


@dataclass(frozen=True, kw_only=True)
class SweepPoint:
    """A cell that has both a size and a score."""

    label: str
    """The settings in which it differs from other cells, as 'mlp.bits 3, coder range'."""
    total_bytes: int
    val_bpb: float
    pareto: bool
    fits: bool


def sweep_points(rows: Sequence[Mapping[str, Any]]) -> tuple[list[SweepPoint], int | None]:
    """Return the points of the rows of results.jsonl, and the limit in bytes where they have one."""
    varied = varied_keys(rows)
    points, limit = [], None
    for row in rows:
        size, bpb = count(row, "total_bytes"), number(row, "val_bpb")
        limit = count(row, "limit_bytes") or limit
        if size is not None and bpb is not None:
            points.append(
                SweepPoint(
                    label=label(mapping(row, "settings"), varied),
                    total_bytes=size,
                    val_bpb=bpb,
                    pareto=flag(row, "pareto") is True,
                    fits=flag(row, "fits") is not False,
                )
            )
    return points, limit


def varied_keys(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the keys of the settings in which the rows differ, in order."""
    keys = dict.fromkeys(key for row in rows for key in mapping(row, "settings"))
    return [key for key in keys if len({_written(mapping(row, "settings").get(key)) for row in rows}) > 1]


def label(settings: Mapping[str, Any], keys: Sequence[str]) -> str:
    """Return settings as text, with keys without their section: 'mlp.bits 3, coder range'."""
    parts = [f"{key.partition('.')[2] or key} {_short(settings[key])}" for key in keys if key in settings]
    return ", ".join(parts)


def read_sweep(folder: Path) -> list[dict[str, Any]]:
    """Return the rows of the results in a sweep's folder; none where there is no readable one."""
    path = folder / SWEEP_RESULTS
    try:
        if not path.is_file() or path.stat().st_size > MAX_RESULT_BYTES:
            return []
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return []
    rows = []
    for line in lines:
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(row, dict):
            rows.append(row)
    return rows


def _short(value: Any) -> str:
    return value if isinstance(value, str) else _written(value)


def _written(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)
