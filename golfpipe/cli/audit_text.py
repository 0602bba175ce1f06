"""The audit as tables: bytes per tensor class against the limit, and the rules."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from golfpipe.cli.layout import paragraph, text_width
from golfpipe.cli.table import format_metric, format_table
from golfpipe.errors import GolfpipeError, OverLimit, RuleBroken
from golfpipe.units import format_bytes
from golfpipe.visible import visible_line

if TYPE_CHECKING:
    from pathlib import Path

    from golfpipe.review.audit import AuditReport
    from golfpipe.submission.rules import RuleResult


def size_table(report: AuditReport) -> list[str]:
    """Return a table of bytes per class, then weights + code = total, and the room left."""
    rows = [
        [row.name, f"{row.count:,}" if row.count else "-",
         f"{row.bits_per_weight:.3f}" if row.bits_per_weight is not None else "-", f"{row.bytes:,}",
         f"{100 * row.share:.1f} %"]
        for row in report.rows
    ]  # fmt: skip
    totals = report.totals
    source = f" ({totals.code_bytes_source})" if totals.code_bytes_source else ""
    sums = [
        ("packed", totals.packed_bytes),
        (f"code{source}", totals.code_bytes),
        ("total", totals.total_bytes),
        ("limit", totals.limit_bytes),
        ("room left", totals.room),
    ]
    lines = []
    if rows:
        lines = [
            *format_table(["class", "weights", "bits/weight", "bytes", "share"], rows),
            f"(bytes: {report.basis})",
        ]
    return lines + format_table([], [[name, format_bytes(n) if n is not None else "not known"] for name, n in sums])


def rule_lines(rules: Sequence[RuleResult]) -> list[str]:
    """Return a line per rule with its evidence below."""
    width = text_width(sys.stdout, 120)
    indent = " " * (20 if width >= 60 else 4)
    lines = []
    for rule in rules:
        lines.append(f"{rule.status:<14}  {rule.number:>2}. {rule.name}")
        lines += paragraph(rule.evidence, width, indent)
    return lines


def audit_fields(report: AuditReport) -> dict[str, Any]:
    """Return the audit as fields of the JSON object."""
    return {
        "rules": [asdict(rule) for rule in report.rules],
        "sizes": [asdict(row) for row in report.rows],
        "notes": list(report.notes),
    }


def audit_metrics(report: AuditReport) -> dict[str, Any]:
    """Return the totals, by the names that scripts rely on."""
    from golfpipe.records.summary import metrics

    totals = report.totals
    return {
        **(metrics(report.reading) if report.reading is not None else {}),
        "packed_bytes": totals.packed_bytes,
        "code_bytes": totals.code_bytes,
        "total_bytes": totals.total_bytes,
        "limit_bytes": totals.limit_bytes,
        "room_bytes": totals.room,
    }


def board_table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a line per folder; what is not known is a dash."""
    header = ["folder", "seeds", "val_bpb", "bytes", "training s", "evaluation s", "rules that fail", "script"]
    names = ("seeds", "val_bpb", "total_bytes", "train_seconds", "eval_seconds", "failed_rules", "script")
    cells = [[str(row["folder"]), *(_cell(name, row[name]) for name in names)] for row in rows]
    errors = [f"{row['folder']}: {row['error']}" for row in rows if row["error"]]
    return [*format_table(header, cells), *errors]


def _cell(name: str, value: Any) -> str:
    if value in (None, ""):
        return "-"
    if name == "val_bpb":
        return f"{value:.5f}"
    return f"{value:,.3f}".rstrip("0").rstrip(".") if isinstance(value, float) else format_metric("", value)


def board_csv(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the same columns and more, for other programs, a line each; what is not known is empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(
        {key: visible_line(value) if isinstance(value, str) else value for key, value in row.items()} for row in rows
    )
    return text.getvalue().splitlines()


def board_error(found: Sequence[AuditReport | GolfpipeError], *, strict: bool) -> GolfpipeError | None:
    """Return the error of the first folder that could not be audited, else one that says how many are over a limit or,
    with --strict, break a rule."""
    unread = [error for error in found if isinstance(error, GolfpipeError)]
    errors = [error for report in found if not isinstance(report, GolfpipeError)
              if (error := audit_error(report, strict=strict)) is not None]  # fmt: skip
    if unread:
        return unread[0]
    over = [error for error in errors if isinstance(error, OverLimit)]
    if over:
        return OverLimit(f"{len(over)} of {len(found)} folders are over the byte or time limit")
    return RuleBroken(f"{len(errors)} of {len(found)} folders break a rule") if errors else None


def audit_error(report: AuditReport, *, strict: bool) -> GolfpipeError | None:
    """Return the error that decides the exit code: a broken limit always, another broken rule with --strict."""
    path = str(report.path)
    totals = report.totals
    if report.over_limit and totals.total_bytes is not None:
        text = f"{path}: over the limit: {format_bytes(totals.total_bytes)} of {format_bytes(totals.limit_bytes)}"
        return OverLimit(text, hint="fewer bits, or a smaller model", path=path)
    if report.over_time:
        return OverLimit(f"{path}: took longer than the track allows", hint="the time rule shows it", path=path)
    return rules_error(report.path, report.failed_rules) if strict else None


def rules_error(path: Path, failed: Sequence[RuleResult]) -> GolfpipeError | None:
    """Return the error of rules that fail; None where none does."""
    if not failed:
        return None
    names = "; ".join(rule.name for rule in failed)
    return RuleBroken(f"{path}: {len(failed)} rules fail: {names}", path=str(path))
