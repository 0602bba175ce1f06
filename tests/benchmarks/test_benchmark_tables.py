"""docs/speed.md and docs/speed-tables.md say what the results say."""

from __future__ import annotations

import re
from typing import Any

import pytest

from benchmarks.tables import (
    KINDS,
    NAMES,
    PAGES,
    STAGES,
    TARGETS,
    detail_table,
    fill_page,
    format_figure,
    read_results,
    result_name,
    stage_table,
    tables,
    target_table,
)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_a_page_shows_the_kept_results(path) -> None:
    page = path.read_text()
    assert fill_page(page, read_results()) == page, "run: python -m benchmarks.tables"


def test_the_pages_have_every_table_once() -> None:
    pages = "".join(path.read_text() for path in PAGES)
    assert sorted(re.findall(r"^<!-- table (\w+) -->$", pages, re.MULTILINE)) == sorted(
        ("targets", "stages", "gpu", *NAMES)
    )


def test_the_findings_are_those_of_the_results() -> None:
    page, found = re.sub(r"\s+", " ", PAGES[0].read_text()), read_results()
    steps, scores, commands, memory = (
        found[name]["results"] for name in ("train_step", "evaluation", "quantize_pack", "memory")
    )
    times = [
        format_figure("seconds", steps[f"tiny/{case}"]["seconds"]["golfpipe"]["median"])
        for case in ("fp32", "bf16", "fp32, compiled", "bf16, compiled")
    ]
    assert "takes {} as it comes, {} in bf16, {} compiled, and {} with both".format(*times) in page
    minutes = [
        round(100_000 / 60 / scores[f"16l/stride {stride}, compiled"]["scored_tokens_per_second"])
        for stride in (64, 32)
    ]
    assert minutes == [1, 2] and "a minute at stride 64 and two at stride 32" in page
    epoch = 100_000 / found["ttt"]["results"]["16l/4 x 512, compiled"]["tokens_per_second"]
    assert f"takes {epoch:.0f} s per epoch of 100,000 tokens" in page
    assert round(commands["16l/commands"]["quantize_and_pack_seconds"]) == 5 and "take five seconds" in page
    peaks = [memory[f"{name}, 16l"]["peak_memory_bytes"] / 1e9 for name in ("train_step", "ttt", "evaluation")]
    peaks.append(commands["16l/commands"]["peak_memory_bytes"] / 1e9)
    words = "need {:.1f} GB, those of `ttt` {:.1f} GB; `evaluate` needs {:.1f} GB, `quantize` {:.1f} GB"
    assert words.format(*peaks) in page


def kept_result(processor: str, figures: dict[str, Any]) -> dict[str, Any]:
    machine = {"gpu": None, "processor": processor, "threads": 2, "clock": "wall", "torch": "2", "python": "3"}
    kept = {"machine": machine, "commit": "abc", "wall_seconds": 5.0, "peak_memory_bytes": 10**9}
    return kept | {"results": {"16l/4 x 512": figures}}


def test_a_table_is_made_of_its_result() -> None:
    kept = kept_result("2 x C", {"speedup_over_plain": 1.25})
    page = "before\n\n<!-- table ttt -->\nold\n<!-- end -->\n\nafter\n\n<!-- table gpu -->\n<!-- end -->\n"
    assert fill_page(page, {"ttt": kept}) == (
        "before\n\n<!-- table ttt -->\n\n"
        "2 x C with AMX, 2 threads, torch 2, Python 3; commit abc; 5 s, peak 1,000.0 MB\n\n"
        "| case | speedup over plain |\n| --- | --- |\n| 16l/4 x 512 | 1.25 x |\n\n<!-- end -->\n\nafter\n\n"
        "<!-- table gpu -->\n\nNot measured yet.\n\n<!-- end -->\n"
    )


def test_processors_with_and_without_amx_stand_beside_each_other() -> None:
    seconds = {"golfpipe": {"median": 2.0, "min": 1.0}}
    found = {
        "ttt": kept_result("2 x A", {"speedup_over_plain": 1.5, "ratio_to_floor": 3.0}),
        "ttt_without_amx": kept_result("2 x B", {"seconds": seconds, "speedup_over_plain": 1.25}),
    }
    made = tables(found)
    assert made["ttt"].splitlines() == [
        "* 2 x A with AMX, 2 threads, torch 2, Python 3; commit abc; 5 s, peak 1,000.0 MB",
        "* 2 x B without AMX, 2 threads, torch 2, Python 3; commit abc; 5 s, peak 1,000.0 MB",
        "",
        "| case | processor | speedup over plain | ratio to floor | golfpipe |",
        "| --- | --- | --- | --- | --- |",
        "| 16l/4 x 512 | with AMX | 1.50 x | 3.00 x |  |",
        "| 16l/4 x 512 | without AMX | 1.25 x |  | 2.00 s |",
    ]
    assert made["stages"].splitlines() == [
        "|  | with AMX | over plain | of the floor | without AMX | over plain | of the floor |",
        "| --- | --- | --- | --- | --- | --- | --- |",
        "| TTT step, `16l`, 4 x 512 tokens |  | 1.50 x | 3.00 x | 2.00 s | 1.25 x |  |",
    ]
    assert made["targets"].splitlines()[0] == "| measure | target | with AMX | without AMX |"
    only = {"ttt_without_amx": found["ttt_without_amx"]}
    assert stage_table(only).splitlines()[0] == "|  | without AMX | over plain | of the floor |"


def test_a_name_tells_the_kind_of_processor() -> None:
    assert [result_name("ttt", amx) for amx in (True, False)] == [f"ttt{end}" for end in KINDS]
    for name, kept in read_results().items():
        if "amx" in kept["machine"] and name != "gpu":
            assert result_name(kept["benchmark"], kept["machine"]["amx"]) == name


def test_what_stages_take_comes_from_cases_that_are_measured() -> None:
    cases = {(name.partition("_without")[0], case) for name, kept in read_results().items() for case in kept["results"]}
    assert {(name, case) for _, name, case, _ in STAGES if name != "code_search"} <= cases


def _results(figure: str, value: Any, benchmark: str, case: str) -> dict[str, Any]:
    return {benchmark: {"results": {case: {figure: value}}}}


@pytest.mark.parametrize("target", [t for t in TARGETS if t.relation != "==" and t.benchmark != "command_line"])
def test_verdicts_follow_the_figures(target) -> None:
    better = target.goal * (1.1 if target.relation == ">=" else 0.9)
    worse = target.goal * (0.5 if target.relation == ">=" else 1.5)
    for value, verdict in ((better, "met"), (target.goal, "met"), (worse, "missed by 50%")):
        table = target_table(_results(target.figure, value, target.benchmark, target.case))
        line = next(line for line in table.splitlines() if line.startswith(f"| {target.measure} |"))
        assert line.endswith(f"| {format_figure(target.figure, value)}, {verdict} |")


def test_what_was_not_measured_is_open() -> None:
    lines = target_table({}).splitlines()[2:]
    assert len(lines) == len(TARGETS)
    assert all(line.endswith("| not measured |") for line in lines)


def test_details_have_a_column_for_every_figure() -> None:
    times = {"golfpipe": {"median": 0.25, "min": 0.2}}
    kept = {"results": {"a": {"seconds": times, "speedup_over_plain": 2.0}, "b": {"peak_memory_bytes": 3_000_000}}}
    assert detail_table({"": kept}).splitlines() == [
        "| case | golfpipe | speedup over plain | peak memory bytes |",
        "| --- | --- | --- | --- |",
        "| a | 250 ms | 2.00 x |  |",
        "| b |  |  | 3.0 MB |",
    ]
