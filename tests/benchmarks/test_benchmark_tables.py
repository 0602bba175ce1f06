"""docs/speed.md and docs/speed-tables.md say what the results say."""

from __future__ import annotations

import re
from typing import Any

import pytest

from benchmarks.tables import NAMES, PAGES, TARGETS, detail_table, fill_page, format_figure, read_results, target_table


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_a_page_shows_the_kept_results(path) -> None:
    page = path.read_text()
    assert fill_page(page, read_results()) == page, "run: python -m benchmarks.tables"


def test_the_pages_have_every_table_once() -> None:
    pages = "".join(path.read_text() for path in PAGES)
    assert sorted(re.findall(r"^<!-- table (\w+) -->$", pages, re.MULTILINE)) == sorted(("targets", "gpu", *NAMES))


def test_a_table_is_made_of_its_result() -> None:
    machine = {"gpu": None, "processor": "2 x CPU", "threads": 2, "clock": "wall", "torch": "2", "python": "3"}
    kept = {"machine": machine, "commit": "abc", "wall_seconds": 5.0, "peak_memory_bytes": 10**9}
    kept["results"] = {"16l/4 x 512": {"speedup_over_plain": 1.25}}
    page = "before\n\n<!-- table ttt -->\nold\n<!-- end -->\n\nafter\n\n<!-- table gpu -->\n<!-- end -->\n"
    assert fill_page(page, {"ttt": kept}) == (
        "before\n\n<!-- table ttt -->\n\n2 x CPU, 2 threads, torch 2, Python 3; commit abc; 5 s, peak 1,000.0 MB\n\n"
        "| case | speedup over plain |\n| --- | --- |\n| 16l/4 x 512 | 1.25 x |\n\n<!-- end -->\n\nafter\n\n"
        "<!-- table gpu -->\n\nNot measured yet.\n\n<!-- end -->\n"
    )


def _results(figure: str, value: Any, benchmark: str, case: str) -> dict[str, Any]:
    return {benchmark: {"results": {case: {figure: value}}}}


@pytest.mark.parametrize("target", [t for t in TARGETS if t.relation != "==" and t.figure != "median_seconds"])
def test_verdicts_follow_the_figures(target) -> None:
    better = target.goal * (1.1 if target.relation == ">=" else 0.9)
    worse = target.goal * (0.5 if target.relation == ">=" else 1.5)
    for value, verdict in ((better, "met"), (target.goal, "met"), (worse, "missed by 50%")):
        table = target_table(_results(target.figure, value, target.benchmark, target.case))
        line = next(line for line in table.splitlines() if line.startswith(f"| {target.measure} |"))
        assert line.endswith(f"| {format_figure(target.figure, value)} | {verdict} |")


def test_what_was_not_measured_is_open() -> None:
    lines = target_table({}).splitlines()[2:]
    assert len(lines) == len(TARGETS)
    assert all(line.endswith("| not measured | open |") for line in lines)


def test_details_have_a_column_for_every_figure() -> None:
    times = {"golfpipe": {"median": 0.25, "min": 0.2}}
    kept = {"results": {"a": {"seconds": times, "speedup_over_plain": 2.0}, "b": {"peak_memory_bytes": 3_000_000}}}
    assert detail_table(kept).splitlines() == [
        "| case | golfpipe | speedup over plain | peak memory bytes |",
        "| --- | --- | --- | --- |",
        "| a | 250 ms | 2.00 x |  |",
        "| b |  |  | 3.0 MB |",
    ]
