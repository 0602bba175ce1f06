"""A run in Markdown, for a pull request or an issue: score, stages, settings, rules."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from golfpipe.report.run_data import RunData, read_runs, read_sweep
from golfpipe.report.section_overview import MOST_DETAILED, best_first, overview
from golfpipe.report.section_settings import differences, open_rules, run_rules
from golfpipe.report.section_stages import stage_row
from golfpipe.report.section_sweep import sweep_rows
from golfpipe.report.sweep_designs import shown_rows
from golfpipe.report.sweep_points import sweep_points
from golfpipe.report.sweep_summary import summarize
from golfpipe.report.verdict import gather_numbers, verdict
from golfpipe.submission.quoting import render

LONGEST_VALUE = 80
MOST_CELLS = 12


def markdown_report(folders: Sequence[Path]) -> str:
    """Read the run folders and return the text, of many runs about the best ones alone.

    Raises UsageError for one that holds nothing, ArtifactError for a damaged one."""
    given = best_first([run for folder in folders for run in read_runs(folder)])
    runs = given[:MOST_DETAILED]
    found = differences(runs, LONGEST_VALUE)
    settings = [*found.apart, *found.shared]
    return render(
        "golfpipe.report",
        "report.md.j2",
        runs=[_run(run) for run in runs],
        settings=settings,
        left_out=len(given) - len(runs),
    )


def _run(run: RunData) -> dict[str, Any]:
    rows = shown_rows(read_sweep(run.sweep))
    cells = sweep_rows(rows)
    return {
        "overview": overview(run),
        "stages": [stage_row(stage) for stage in run.stages],
        "sweep": summarize(rows),
        "unquantized": sweep_points(rows).unquantized,
        "best_cells": [cell for cell in cells if cell.is_best][:MOST_CELLS],
        "verdict": verdict(run, gather_numbers(run, baselines=False)),
        "rules": (rules := run_rules(run)),
        "open_rules": open_rules(run, rules),
    }
