"""A run in Markdown, for a pull request or an issue: score, stages, settings, rules."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from golfpipe.config.schema import PipelineConfig, plain_config
from golfpipe.report.run_data import RunData, read_run
from golfpipe.report.section_overview import form_name, run_config
from golfpipe.report.section_settings import flatten, run_rules, run_settings, written
from golfpipe.report.section_stages import stage_bytes, stage_seconds
from golfpipe.report.sweep_points import label, read_sweep, varied_keys
from golfpipe.store.metric_values import count, flag, mapping, number
from golfpipe.submission.technique import one_line
from golfpipe.units import format_bytes, format_seconds

LONGEST_VALUE = 80
MOST_CELLS = 12


def markdown_report(folders: Sequence[Path]) -> str:
    """Reads the run folders. Raises UsageError for one that holds nothing, ArtifactError for a damaged one."""
    runs = [read_run(folder) for folder in folders]
    parts = [part for run in runs for part in _run_parts(run)]
    return "\n\n".join([*parts, _settings_table(runs)]) + "\n"


def _run_parts(run: RunData) -> list[str]:
    config = run_config(run)
    parts = [f"### {escaped(run.name)}", _headline(run)]
    if config is not None:
        parts.append(f"{escaped(one_line(config))}.")
    parts.append(_stage_table(run))
    return [*parts, *_sweep_part(run), *_rules_part(run)]


def _headline(run: RunData) -> str:
    packed = run.first("packed_model")
    scores = run.headline.manifest.metrics if run.headline is not None else {}
    sizes = packed.manifest.metrics if packed is not None else {}
    bpb, loss = number(scores, "val_bpb"), number(scores, "val_loss_nats")
    total, limit = count(sizes, "total_bytes"), count(sizes, "limit_bytes")
    words = []
    if bpb is not None:
        words.append(f"**val_bpb: {bpb:.4f}** ({form_name(scores)}{_ineligible(scores)})")
    if loss is not None:
        words.append(f"val_loss {loss:.4f} nats/token")
    if total is not None and limit is not None:
        room = limit - total
        words.append(f"{format_bytes(total)}, {format_bytes(abs(room))} {'left' if room >= 0 else 'over the limit'}")
    return " | ".join(words) or "no score yet"


def _ineligible(metrics: dict[str, Any]) -> str:
    return ", not eligible" if flag(metrics, "eligible") is False else ""


def _stage_table(run: RunData) -> str:
    rows = []
    for stage in run.stages:
        metrics = stage.manifest.metrics
        loss, bpb, size, seconds = (
            number(metrics, "val_loss_nats"), number(metrics, "val_bpb"), stage_bytes(stage), stage_seconds(stage),
        )  # fmt: skip
        rows.append(
            [
                stage.path.name + _ineligible(metrics),
                f"{loss:.4f}" if loss is not None else "",
                f"{bpb:.4f}" if bpb is not None else "",
                f"{size:,}" if size is not None else "",
                format_seconds(seconds) if seconds is not None else "",
                f"`{stage.manifest.digest[:12]}`",
            ]
        )
    return _table(["stage", "nats/token", "bits/byte", "bytes", "time", "digest"], rows, numeric=4)


def _sweep_part(run: RunData) -> list[str]:
    """Cells that no other one dominates, best first."""
    rows = read_sweep(run.sweep)
    best = sorted((row for row in rows if flag(row, "pareto")), key=lambda row: number(row, "val_bpb") or 0.0)
    if not best:
        return []
    varied = varied_keys(rows)
    lines = [
        [label(mapping(row, "settings"), varied), f"{number(row, 'val_bpb') or 0:.4f}",
         f"{count(row, 'total_bytes') or 0:,}"]
        for row in best[:MOST_CELLS]
    ]  # fmt: skip
    table = _table(["cell", "bits/byte", "bytes"], lines, numeric=2)
    return [f"Sweep of {len(rows)} cells; the best for their size:", table]


def _rules_part(run: RunData) -> list[str]:
    rules = run_rules(run)
    if not rules:
        return []
    rows = [[f"{rule.number}. {rule.name}", rule.status, rule.evidence] for rule in rules]
    return [f"<details><summary>Rules</summary>\n\n{_table(['rule', 'status', 'evidence'], rows)}\n\n</details>"]


def _settings_table(runs: Sequence[RunData]) -> str:
    """Settings that are not golfpipe's defaults, those in which the runs differ first."""
    default = flatten(plain_config(PipelineConfig()))
    settings = [run_settings(run) for run in runs]
    keys = [key for key in default if any(key in s and s[key] != default[key] for s in settings)]
    if not keys:
        return "Every setting has its default."
    keys.sort(key=lambda key: len({written(s.get(key)) for s in settings}) == 1)
    rows = [[f"`{key}`", *(_value(s.get(key)) for s in settings), _value(default[key])] for key in keys]
    return _table(["setting", *(run.name for run in runs), "default"], rows)


def _value(value: Any) -> str:
    text = value if isinstance(value, str) else "" if value is None else written(value)
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]} ..."


def _table(header: Sequence[str], rows: Sequence[Sequence[str]], numeric: int = 0) -> str:
    """`numeric`: how many columns after the first are numbers."""
    marks = ["---:" if 0 < i <= numeric else "---" for i in range(len(header))]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [[escaped(c) for c in header], marks, *_escaped(rows)])


def _escaped(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    return [[escaped(cell) for cell in row] for row in rows]


def escaped(text: str) -> str:
    """Artifacts come from strangers: nothing of theirs may become markup or break a table."""
    flat = " ".join(text.split())
    return flat.replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|").replace("[", "\\[")
