"""Results as Markdown: what was promised against what was measured, and the figures of each benchmark.

python -m benchmarks.tables      # rewrites the tables in docs/speed.md and docs/speed-tables.md, as --record does

A table stands between `<!-- table NAME -->` and `<!-- end -->`; a test compares them with the results. Results of two
kinds of processors are kept beside each other, and a table shows those that there are.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

NAMES = (
    "train_step",
    "evaluation",
    "ttt",
    "attention",
    "quantize_pack",
    "code_search",
    "reading",
    "command_line",
    "memory",
    "scaling",
)
"""Benchmarks, each a module of this package with `run(quick) -> {case: {figure: value}}`."""
KINDS = {"": "with AMX", "_without_amx": "without AMX"}
"""What the name of a result ends in -> the kind of processor. AMX tiles multiply bf16 so much faster than other
instructions that neither kind speaks for the other."""
RESULTS = Path(__file__).parent / "results"
DOCS = Path(__file__).parents[1] / "docs"
PAGES = (DOCS / "speed.md", DOCS / "speed-tables.md")

Results = Mapping[str, Mapping[str, Any]]
"""Name of a result, as `result_name` makes it -> what its file holds."""


@dataclass(frozen=True, slots=True)
class Target:
    """One promise: the figure of a case is at least, at most, or exactly the goal."""

    measure: str
    benchmark: str
    case: str
    figure: str
    relation: Literal[">=", "<=", "=="]
    goal: float | bool

    def is_met(self, value: float | bool) -> bool:
        if self.relation == "==":
            return value == self.goal
        return value >= self.goal if self.relation == ">=" else value <= self.goal


TARGETS = (
    Target(
        "train step `16l`, 4 x 512, bf16, over plain",
        "train_step",
        "16l/bf16, compiled",
        "speedup_over_plain",
        ">=",
        2.0,
    ),
    Target(
        "train step `tiny`, 16 x 256, fp32, over plain",
        "train_step",
        "tiny/fp32, compiled",
        "speedup_over_plain",
        ">=",
        1.5,
    ),
    Target("optimizer's share of the `16l` step", "train_step", "16l/bf16, compiled", "optimizer_share", "<=", 0.15),
    *(
        Target(
            f"sliding evaluation `16l`, stride {stride}, {words}", "evaluation", f"16l/stride {stride}, compiled", *rest
        )
        for stride in (64, 32)
        for words, *rest in (
            ("over plain", "speedup_over_plain", ">=", 1.5),
            ("of the floor", "ratio_to_floor", "<=", 1.3),
        )
    ),
    Target(
        "full-model TTT step `16l`, 4 x 512, over plain",
        "ttt",
        "16l/4 x 512, compiled",
        "speedup_over_plain",
        ">=",
        1.3,
    ),
    Target(
        "quantize + pack `16l`, one process", "quantize_pack", "16l/one process", "quantize_and_pack_seconds", "<=", 5.0
    ),
    Target("the same as two commands", "quantize_pack", "16l/commands", "quantize_and_pack_seconds", "<=", 5.0),
    Target("unpack + dequantize `16l`, one process", "quantize_pack", "16l/one process", "unpack_seconds", "<=", 1.5),
    *(
        Target(f"solve `{preset}` for {size}, calibrated", "code_search", f"{preset}, {size}, calibrated", *rest)
        for preset, size, *rest in (
            ("tiny", "3 bits", "solve_seconds", "<=", 1.5),
            ("16l", "16 MB", "solve_seconds", "<=", 8.0),
        )
    ),
    Target("`golfpipe --help`, median of 10", "command_line", "golfpipe --help", "whole command_seconds", "<=", 0.25),
    *(
        Target(f"`{name}` of 300 runs", "command_line", f"golfpipe {name}, 300 runs", *rest)
        for name, *rest in (("ls", "whole command_seconds", "<=", 1.0), ("report", "whole command_seconds", "<=", 10.0))
    ),
    Target("`golfpipe --help` loads torch", "command_line", "golfpipe --help", "loads_torch", "==", False),
    Target(
        "peak memory of `train`, 100 M tokens on disk over 1 M",
        "memory",
        "train, 100,000,000 tokens on disk",
        "ratio_to_smallest",
        "<=",
        1.02,
    ),
    Target("one GPU, `16l`, context 2048: model FLOPs utilization", "gpu", "train", "flops_utilization", ">=", 0.40),
)


STAGES = (
    ("train step, `16l`, 4 x 512 tokens", "train_step", "16l/bf16", "golfpipe_seconds"),
    ("the same, compiled", "train_step", "16l/bf16, compiled", "golfpipe_seconds"),
    ("train step, `tiny`, 16 x 256 tokens, fp32", "train_step", "tiny/fp32", "golfpipe_seconds"),
    ("the same, compiled", "train_step", "tiny/fp32, compiled", "golfpipe_seconds"),
    ("the same, bf16", "train_step", "tiny/bf16", "golfpipe_seconds"),
    ("the same, bf16, compiled", "train_step", "tiny/bf16, compiled", "golfpipe_seconds"),
    ("scored tokens a second, `16l`, stride 64", "evaluation", "16l/stride 64", "scored_tokens_per_second"),
    ("the same, compiled", "evaluation", "16l/stride 64, compiled", "scored_tokens_per_second"),
    ("stride 32, compiled", "evaluation", "16l/stride 32, compiled", "scored_tokens_per_second"),
    ("TTT step, `16l`, 4 x 512 tokens", "ttt", "16l/4 x 512", "golfpipe_seconds"),
    ("the same, compiled", "ttt", "16l/4 x 512, compiled", "golfpipe_seconds"),
    ("quantize and pack `16l`, two commands", "quantize_pack", "16l/commands", "quantize_and_pack_seconds"),
    ("the same, one process", "quantize_pack", "16l/one process", "quantize_and_pack_seconds"),
    ("solve `16l` for 16 MB", "code_search", "16l, 16 MB", "solve_seconds"),
    ("the same, calibrated", "code_search", "16l, 16 MB, calibrated", "solve_seconds"),
)
"""What users wait for: words, benchmark, case, figure."""


def result_name(benchmark: str, with_amx: bool) -> str:
    """The name under which a processor's result is kept."""
    return benchmark if with_amx else f"{benchmark}_without_amx"


def read_results(folder: Path = RESULTS) -> dict[str, dict[str, Any]]:
    """Every kept result of a benchmark of this package."""
    paths = {name: folder / f"{name}.json" for name in (*(name + end for end in KINDS for name in NAMES), "gpu")}
    return {name: json.loads(path.read_text()) for name, path in paths.items() if path.exists()}


def target_table(results: Results) -> str:
    """Every target with its figure on each kind of processor, and whether it is met; by how much it is missed."""
    ends = _measured_ends(results)
    rows = []
    for target in TARGETS:
        goal = f"{target.relation} {format_figure(target.figure, target.goal)}".removeprefix("== ")
        found = [_figures(results, target.benchmark, end, target.case).get(target.figure) for end in ends]
        rows.append([target.measure, goal, *(_verdict(target, value) for value in found)])
    return _table(["measure", "target", *(KINDS[end] for end in ends)], rows)


def stage_table(results: Results) -> str:
    """What every stage costs on each kind of processor; stages that were measured on none are left out."""
    ends = _measured_ends(results)
    rows = []
    for words, benchmark, case, figure in STAGES:
        names = (figure, "speedup_over_plain", "ratio_to_floor")
        found = [_figures(results, benchmark, end, case) for end in ends]
        if any(found):
            rows.append([words, *(format_figure(name, x.get(name, "")) for x in found for name in names)])
    return _table(["", *(word for end in ends for word in (KINDS[end], "over plain", "of the floor"))], rows)


def detail_table(kinds: Mapping[str, Mapping[str, Any]]) -> str:
    """One row per case and kind of processor, one column per timed function (its median) or figure."""
    found = {(case, kind): _flat(x) for kind, kept in kinds.items() for case, x in kept["results"].items()}
    columns = list(dict.fromkeys(name for figures in found.values() for name in figures))
    rows = [
        [case, *[kind] * (len(kinds) > 1), *(format_figure(name, found[case, kind].get(name, "")) for name in columns)]
        for case in dict.fromkeys(case for case, _ in found)
        for kind in kinds
        if (case, kind) in found
    ]
    names = [column.removesuffix("_seconds").replace("_", " ") for column in columns]
    return _table(["case", *["processor"] * (len(kinds) > 1), *names], rows)


def machine_line(kept: Mapping[str, Any], kind: str) -> str:
    """Where, with what and on which commit a result was measured."""
    machine = kept["machine"]
    where = f"{machine['gpu']}, {machine['processor']}" if machine["gpu"] else f"{machine['processor']} {kind}"
    clock = "CPU seconds on a machine busy with other work, " if machine["clock"] == "cpu" else ""
    return (
        f"{where}, {clock}{machine['threads']} {'thread' if machine['threads'] == 1 else 'threads'}, "
        f"torch {machine['torch']}, Python {machine['python']}; commit {kept['commit']}; {kept['wall_seconds']:.0f} s,"
        f" peak {format_figure('bytes', kept['peak_memory_bytes'])}"
    )


def tables(results: Results) -> dict[str, str]:
    """Name -> the table of that name in the page."""
    made = {"targets": target_table(results), "stages": stage_table(results)}
    for name in (*NAMES, "gpu"):
        if kinds := {kind: results[name + end] for end, kind in KINDS.items() if name + end in results}:
            lines = [machine_line(kept, kind) for kind, kept in kinds.items()]
            made[name] = "\n".join(f"{'* ' * (len(lines) > 1)}{line}" for line in lines) + f"\n\n{detail_table(kinds)}"
    return made


def fill_page(page: str, results: Results) -> str:
    """The page with every table written anew."""
    made = tables(results)

    def fill(match: re.Match[str]) -> str:
        return f"<!-- table {match[1]} -->\n\n{made.get(match[1], 'Not measured yet.')}\n\n<!-- end -->"

    return re.sub(r"<!-- table (\w+) -->\n.*?<!-- end -->", fill, page, flags=re.DOTALL)


def format_figure(name: str, value: Any) -> str:
    """A figure in the unit that its name tells."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, int | float):
        return str(value)
    if name.endswith("seconds"):
        return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.2f} s"
    if name.endswith("bytes"):
        return f"{value / 1e6:,.1f} MB"
    if name.endswith(("share", "utilization")):
        return f"{value:.1%}"
    if "ratio" in name or "speedup" in name:
        return f"{value:.2f} x"
    if name.endswith("exponent"):
        return f"{value:.2f}"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _flat(figures: Mapping[str, Any]) -> dict[str, Any]:
    """Medians of the timed functions, then the other figures."""
    medians = {f"{name}_seconds": times["median"] for name, times in figures.get("seconds", {}).items()}
    return medians | {name: value for name, value in figures.items() if name != "seconds"}


def _measured_ends(results: Results) -> list[str]:
    """What names of results end in; those of machines with AMX alone where there are no results."""
    return [end for end in KINDS if any(name + end in results for name in NAMES)] or list(KINDS)[:1]


def _figures(results: Results, benchmark: str, end: str, case: str) -> dict[str, Any]:
    """The figures of a case on a kind of processor; none where they are not there. A GPU's result is of no kind."""
    kept = results.get(benchmark + end * (benchmark in NAMES), {})
    return _flat(kept.get("results", {}).get(case, {}))


def _verdict(target: Target, value: float | bool | None) -> str:
    if value is None:
        return "not measured"
    by = "" if target.relation == "==" else f" by {abs(value / target.goal - 1):.0%}"
    return f"{format_figure(target.figure, value)}, {'met' if target.is_met(value) else f'missed{by}'}"


def _table(header: list[str], rows: list[list[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in (header, ["---"] * len(header), *rows))


def write_pages() -> None:
    """Write the tables of the pages anew, from the kept results."""
    for page in PAGES:
        page.write_text(fill_page(page.read_text(), read_results()))


if __name__ == "__main__":
    write_pages()
