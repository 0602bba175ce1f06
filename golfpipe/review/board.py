"""Several audits side by side: one line for each records folder, and the readable source of their scripts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from golfpipe.errors import GolfpipeError, UsageError
from golfpipe.records.evidence import printable
from golfpipe.records.summary import metrics
from golfpipe.review.audit import AuditReport, audit_path
from golfpipe.store.files import make_folder, write_file


@dataclass(frozen=True, kw_only=True)
class BoardRow:
    """One folder. None: not known."""

    folder: str
    kind: str = ""
    track: str | None = None
    seeds: int | None = None
    val_bpb: float | None = None
    total_bytes: int | None = None
    code_bytes: int | None = None
    train_seconds: float | None = None
    eval_seconds: float | None = None
    failed_rules: str = ""
    """Their numbers, with a space between."""
    script: str = ""
    """Its kind, and how it is packed."""
    error: str = ""
    """Why there is no audit."""


def board(paths: Sequence[Path]) -> list[tuple[BoardRow, AuditReport | GolfpipeError]]:
    """Audit every path. One that cannot be audited has a row with the reason, and does not stop the others."""
    found: list[tuple[BoardRow, AuditReport | GolfpipeError]] = []
    for path in paths:
        try:
            report = audit_path(path)
        except GolfpipeError as error:
            found.append((BoardRow(folder=printable(str(path), 200), error=error.message), error))
        else:
            found.append((board_row(report), report))
    return found


def board_row(report: AuditReport) -> BoardRow:
    """Return the line of one audit."""
    told: dict[str, Any] = metrics(report.reading) if report.reading is not None else {}
    script = report.reading.script if report.reading is not None else None
    return BoardRow(
        folder=printable(str(report.path), 200),
        kind=report.kind,
        track=report.track,
        seeds=len(report.reading.counting.runs) if report.reading is not None else None,
        val_bpb=told.get("val_bpb"),
        total_bytes=report.totals.total_bytes,
        code_bytes=report.totals.code_bytes,
        train_seconds=told.get("train_seconds"),
        eval_seconds=told.get("eval_seconds"),
        failed_rules=" ".join(str(rule.number) for rule in report.failed_rules),
        script=", ".join(part for part in (script.kind, script.packing) if part) if script is not None else "",
    )


def row_fields(row: BoardRow) -> dict[str, Any]:
    """Return the columns by name."""
    return asdict(row)


def write_sources(report: AuditReport, folder: Path) -> list[Path]:
    """Write the readable source of a records folder's script below `folder`, for reading. Raises UsageError where there
    is none, or where a file is in the way."""
    script = report.reading.script if report.reading is not None else None
    if script is None or not script.sources:
        why = script.sentence if script is not None else "there is no script of somebody else"
        raise UsageError(f"{report.path}: nothing to unpack: {why}", path=str(report.path))
    written = []
    for name, text in script.sources.items():
        target = folder / Path(name).name
        if target.exists() or target.is_symlink():
            raise UsageError(f"{target} exists already", hint="give another folder to --unpack", path=str(target))
        make_folder(target.parent)
        write_file(target, text.encode())
        written.append(target)
    return written
