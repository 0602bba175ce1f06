"""The end of a run on one screen: what each step made, what that is worth, what looks wrong, what to do next."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from golfpipe.cli.table import format_metric, format_table, paragraphs

if TYPE_CHECKING:
    from golfpipe.report.verdict import Numbers, Verdict
    from golfpipe.submission.rules import RuleResult

_LABEL = 10
"""Columns of the words before the last lines."""


def ending(
    steps: list[str],
    numbers: Numbers | None,
    verdict: Verdict | None,
    rules: Sequence[RuleResult],
    records: Path | None,
    page: Path | None,
) -> list[str]:
    """Return the lines below the progress of a run. `steps` is the table of the steps."""
    found = _judgment(verdict) if verdict is not None else []
    places = [
        *(labeled("records", str(records)) if records is not None else []),
        *labeled("report", str(page) if page is not None else "not made"),
        *([f"next ({verdict.purpose}):", verdict.command] if verdict is not None else []),
    ]
    worth = worth_table(numbers) if numbers is not None else []
    return paragraphs(steps, worth, [*found, *_rules(rules), *places])


def worth_table(numbers: Numbers) -> list[str]:
    """Return the score and the bytes beside those of the unquantized model and of xz."""
    limit = f"with the code, of {numbers.limit_bytes:,}" if numbers.limit_bytes is not None else ""
    rows = [
        (numbers.form, numbers.val_bpb, numbers.total_bytes, limit if numbers.total_bytes is not None else ""),
        ("unquantized", numbers.unquantized_bpb, numbers.unquantized_bytes, "as 32-bit floats"),
        ("xz -9", numbers.baselines.get("xz -9"), None, "on the same text"),
    ]
    cells = [
        [name, format_metric("val_bpb", bpb), f"{size:,}" if size is not None else "-", about]
        for name, bpb, size, about in rows
        if bpb is not None or size is not None
    ]
    return format_table(["model", "bits per byte", "bytes", ""], cells) if cells else []


def _judgment(verdict: Verdict) -> list[str]:
    """Return the gravest of what looks wrong: all of it may not fit on a screen."""
    if not verdict.wrong:
        return labeled("verdict", "Nothing looks wrong.")
    gravest, *others = verdict.wrong
    more = f" The report tells {len(others)} more." if others else ""
    return labeled("wrong", f"{gravest}{more}", most=3)


def _rules(rules: Sequence[RuleResult]) -> list[str]:
    """Return how many rules hold, and why the first one fails; the report and `audit` tell the rest."""
    if not rules:
        return []
    of = {status: [rule for rule in rules if rule.status == status] for status in ("pass", "fail", "not checked")}
    text = f"{len(of['pass'])} hold, {len(of['not checked'])} not checked, {len(of['fail'])} broken"
    if of["fail"]:
        first = of["fail"][0]
        text += f": {first.number}. {first.evidence}"
    return labeled("rules", text, most=2)


def labeled(label: str, text: str, most: int = 1) -> list[str]:
    """Return a text behind its label, in at most so many lines. What has no spaces stays whole, for it may be a
    path."""
    if " " not in text:
        return [f"{label:<{_LABEL}}{text}"]
    width = max(60, min(120, shutil.get_terminal_size().columns))
    return textwrap.wrap(
        text,
        width,
        initial_indent=f"{label:<{_LABEL}}",
        subsequent_indent=" " * _LABEL,
        break_long_words=False,
        break_on_hyphens=False,
        max_lines=most,
        placeholder=" ...",
    )
