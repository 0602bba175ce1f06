"""An artifact as a notebook shows it: one line, or a small table of its numbers."""

from __future__ import annotations

import html
from pathlib import Path
from typing import Any

from golfpipe.store.manifest import Manifest
from golfpipe.store.metric_values import number
from golfpipe.units import format_bytes

_FIRST = ("val_bpb", "total_bytes", "relative_mse", "parameters", "steps", "train_tokens")
"""The metrics by which people know an artifact."""


def one_line(path: Path, manifest: Manifest) -> str:
    """Return the kind, the folder and the few numbers by which people know the artifact."""
    metrics = manifest.metrics
    numbers = [f"{name} {_text(name, metrics[name])}" for name in _FIRST if number(metrics, name) is not None]
    return f"<{manifest.kind} {path}{': ' + ', '.join(numbers) if numbers else ''}>"


def html_table(path: Path, manifest: Manifest) -> str:
    """Return a table in HTML of the metrics that are single values."""
    rows = [
        f"<tr><td>{html.escape(name)}</td><td>{html.escape(_text(name, value))}</td></tr>"
        for name, value in manifest.metrics.items()
        if isinstance(value, int | float | str)
    ]
    title = html.escape(f"{manifest.kind} {path}")
    return f"<table><caption>{title}</caption>{''.join(rows)}</table>"


def _text(name: str, value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if isinstance(value, int):
        return format_bytes(value) if name.endswith("_bytes") else f"{value:,}"
    return f"{value:.4f}" if name.endswith(("_bpb", "_nats")) else f"{value:.4g}"
