"""The audit as tables: bytes per tensor class against the limit, and the rules."""

from __future__ import annotations

import shutil
import textwrap
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from golfpipe.cli.table import format_table
from golfpipe.errors import GolfpipeError, OverLimit, RuleBroken
from golfpipe.units import format_bytes

if TYPE_CHECKING:
    from golfpipe.review.audit import AuditReport


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


def rule_table(report: AuditReport) -> list[str]:
    """Return a line per rule with its evidence below."""
    width = max(60, min(120, shutil.get_terminal_size().columns))
    lines = []
    for rule in report.rules:
        lines.append(f"{rule.status:<14}  {rule.number:>2}. {rule.name}")
        lines += textwrap.wrap(rule.evidence, width, initial_indent=" " * 20, subsequent_indent=" " * 20)
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
    totals = report.totals
    return {
        "packed_bytes": totals.packed_bytes,
        "code_bytes": totals.code_bytes,
        "total_bytes": totals.total_bytes,
        "limit_bytes": totals.limit_bytes,
        "room_bytes": totals.room,
    }


def audit_error(report: AuditReport, *, strict: bool) -> GolfpipeError | None:
    """Return the error that decides the exit code: a broken limit always, another broken rule with --strict."""
    path = str(report.path)
    totals = report.totals
    if report.over_limit and totals.total_bytes is not None:
        text = f"{path}: over the limit: {format_bytes(totals.total_bytes)} of {format_bytes(totals.limit_bytes)}"
        return OverLimit(text, hint="fewer bits, or a smaller model", path=path)
    if report.over_time:
        return OverLimit(f"{path}: took longer than the track allows", hint="the time rule shows it", path=path)
    if strict and report.failed_rules:
        names = "; ".join(rule.name for rule in report.failed_rules)
        return RuleBroken(f"{path}: {len(report.failed_rules)} rules fail: {names}", path=path)
    return None
