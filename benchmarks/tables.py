"""Results as Markdown: what was promised against what was measured, and the figures of each benchmark.

python -m benchmarks.tables      # rewrites the tables in docs/speed.md and docs/speed-tables.md, as --record does

A table stands between `<!-- table NAME -->` and `<!-- end -->`; a test compares them with the results.
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
    "reading",
    "command_line",
    "memory",
    "scaling",
)
"""Benchmarks, each a module of this package with `run(quick) -> {case: {figure: value}}`."""
RESULTS = Path(__file__).parent / "results"
DOCS = Path(__file__).parents[1] / "docs"
PAGES = (DOCS / "speed.md", DOCS / "speed-tables.md")

Results = Mapping[str, Mapping[str, Any]]
"""Name of a benchmark -> what its file holds."""


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
            ("of the floor", "ratio_to_floor", "<=", 1.35),
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
    Target("`golfpipe --help`, median of 10", "command_line", "golfpipe --help", "median_seconds", "<=", 0.25),
    *(
        Target(f"`{name}` of 300 runs", "command_line", f"golfpipe {name}, 300 runs", "median_seconds", "<=", goal)
        for name, goal in (("ls", 1.0), ("report", 10.0))
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


def read_results(folder: Path = RESULTS) -> dict[str, dict[str, Any]]:
    """Every kept result of a benchmark of this package."""
    paths = {name: folder / f"{name}.json" for name in (*NAMES, "gpu")}
    return {name: json.loads(path.read_text()) for name, path in paths.items() if path.exists()}


def target_table(results: Results) -> str:
    """Every target with its figure and whether it is met; by how much it is missed."""
    rows = []
    for target in TARGETS:
        value = _value(results, target)
        goal = f"{target.relation} {format_figure(target.figure, target.goal)}".removeprefix("== ")
        if value is None:
            rows.append([target.measure, goal, "not measured", "open"])
            continue
        verdict = "met" if target.is_met(value) else f"missed{_by(target, value)}"
        rows.append([target.measure, goal, format_figure(target.figure, value), verdict])
    return _table(["measure", "target", "measured", ""], rows)


def detail_table(kept: Mapping[str, Any]) -> str:
    """One row per case, one column per timed function (its median) or figure."""
    cases = {case: _flat(figures) for case, figures in kept["results"].items()}
    columns = list(dict.fromkeys(name for figures in cases.values() for name in figures))
    rows = [
        [case, *(format_figure(name, figures[name]) if name in figures else "" for name in columns)]
        for case, figures in cases.items()
    ]
    return _table(["case", *(column.removesuffix("_seconds").replace("_", " ") for column in columns)], rows)


def machine_line(kept: Mapping[str, Any]) -> str:
    """Where, with what and on which commit a result was measured."""
    machine = kept["machine"]
    where = f"{machine['gpu']}, {machine['processor']}" if machine["gpu"] else machine["processor"]
    clock = "CPU seconds on a machine busy with other work, " if machine["clock"] == "cpu" else ""
    return (
        f"{where}, {clock}{machine['threads']} {'thread' if machine['threads'] == 1 else 'threads'}, "
        f"torch {machine['torch']}, Python {machine['python']}; commit {kept['commit']}; {kept['wall_seconds']:.0f} s,"
        f" peak {format_figure('bytes', kept['peak_memory_bytes'])}"
    )


def tables(results: Results) -> dict[str, str]:
    """Name -> the table of that name in the page."""
    return {"targets": target_table(results)} | {
        name: f"{machine_line(kept)}\n\n{detail_table(kept)}" for name, kept in results.items()
    }


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


def _value(results: Results, target: Target) -> Any:
    figures = results.get(target.benchmark, {}).get("results", {}).get(target.case, {})
    if target.figure == "median_seconds" and figures:
        return figures["seconds"]["whole command"]["median"]
    return figures.get(target.figure)


def _by(target: Target, value: float | bool) -> str:
    if target.relation == "==":
        return ""
    return f" by {abs(value / target.goal - 1):.0%}"


def _table(header: list[str], rows: list[list[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in (header, ["---"] * len(header), *rows))


def write_pages() -> None:
    """Write the tables of the pages anew, from the kept results."""
    for page in PAGES:
        page.write_text(fill_page(page.read_text(), read_results()))


if __name__ == "__main__":
    write_pages()
