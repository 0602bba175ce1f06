"""The table of a sweep of trainings: one line per design, the best score first, beside the first design of the grid."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from golfpipe.cli.table import format_table
from golfpipe.store.metric_values import mapping
from golfpipe.units import format_seconds

_MEASURES = (("steps", "steps"), ("train_seconds", "training"), ("text_bytes", "text"), ("total_bytes", "bytes"))


def design_table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the table, and below it what is equal in all of its lines and what its signs mean."""
    labels, header = _labels(rows)
    ranked = sorted(range(len(rows)), key=lambda i: (rows[i]["val_bpb"] is None, rows[i]["val_bpb"] or 0.0, i))
    shown = [(name, title) for name, title in _MEASURES if not _is_equal(name, rows)]
    lines = [
        [
            *labels[index],
            f"{row['val_bpb']:.4f}" if (row := rows[index])["val_bpb"] is not None else "-",
            _from_first(row),
            *(_text(name, row) for name, _ in shown),
            _remark(row),
        ]
        for index in ranked
    ]
    table = format_table([*header, "val_bpb", "from the first", *(title for _, title in shown), ""], lines)
    return [*table, "", *_explained(rows, [pair for pair in _MEASURES if pair not in shown])]


def _is_equal(name: str, rows: Sequence[Mapping[str, Any]]) -> bool:
    """Return True where the designs that have the measure differ by a percent at most, or by ten in seconds."""
    found = [row[name] for row in rows if row[name] is not None]
    return not found or max(found) <= (1.1 if name == "train_seconds" else 1.01) * min(found)


def _labels(rows: Sequence[Mapping[str, Any]]) -> tuple[list[list[str]], list[str]]:
    """Return the cells that name each design, with their titles: the value of every varied setting or, where each
    design differs from the first one in one setting of several, that difference."""
    from golfpipe.report.sweep_points import label, short_names, shown_value, varied_keys

    keys, first = varied_keys(rows), mapping(rows[0], "settings")
    changed = [[key for key in keys if mapping(row, "settings").get(key) != first.get(key)] for row in rows]
    if len(keys) > 1 and all(len(names) <= 1 for names in changed):
        named = [label(mapping(row, "settings"), names) for row, names in zip(rows, changed, strict=True)]
        return [[name or "all of them"] for name in named], ["design"]
    keys = keys or list(first)[:1]
    found = [[shown_value(mapping(row, "settings")[key]) for key in keys] for row in rows]
    return found, list(short_names(keys).values())


def _from_first(row: Mapping[str, Any]) -> str:
    if row["from_first"] is None:
        return "-"
    noise = row["from_first_noise"]
    return f"{row['from_first']:+.4f}" + (f" +-{noise:.4f}" if noise is not None else "")


def _text(name: str, row: Mapping[str, Any]) -> str:
    value = row[name]
    if value is None:
        return "-"
    if name == "text_bytes":
        return f"{value / 1e6:.3g} MB"
    return format_seconds(value) if name == "train_seconds" else f"{value:,}"


def _remark(row: Mapping[str, Any]) -> str:
    state = row["state"] if row["state"] not in ("done", "up to date") else ""
    return state or ("over the limit" if row["fits"] is False else "")


def _explained(rows: Sequence[Mapping[str, Any]], equal: Sequence[tuple[str, str]]) -> list[str]:
    seeds = max(row["seeds"] for row in rows)
    best = min(rows, key=lambda row: row["val_bpb"] or math.inf)
    same = ", ".join(f"{title} {_text(name, best)}" for name, title in equal if best[name] is not None)
    lines = [f"equal in all: {same}"] if same else []
    if any(row["from_first_noise"] is not None for row in rows):
        lines.append(f"+- half of the 95 % interval of the difference, at equal seeds ({seeds} of them)")
    elif seeds > 1 and sum(row["val_bpb"] is not None for row in rows) > 1:
        lines.append("the differences have no +- beside them: pip install 'golfpipe[significance]'")
    elif seeds == 1:
        lines.append("one seed says nothing of noise: --seeds 0,1,2 trains every design three times")
    return lines
