"""The best designs for so many bytes and seconds that `golfpipe plan --try` finds, beside preset `tiny`.

python -m benchmarks.frontier.search FOLDER               # shards and their tokenizer
python -m benchmarks.frontier.search FOLDER --case 60kB   # one of the cases; the others stay as they are

Seconds are those of training: `tiny` takes 1, by step times of this machine. The search chooses on one half of the
validation documents; both halves are reported, and `tiny` solved to the same bytes on the same documents. Writes
frontier_search.json (benchmarks/keep.py says where). An interrupted search goes on.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks.frontier.yardstick import PACKING, SETTINGS, STEPS, own_tokens, sweep, write_texts
from benchmarks.frontier.yardstick import yardstick_seconds as seconds_of_tiny
from benchmarks.keep import add_output_options, read_result, write_result
from benchmarks.same_work import golfpipe
from benchmarks.timing import machine
from golfpipe.loading.document_scores import read_document_scores
from golfpipe.planning.trials import half_scores
from golfpipe.store.artifact import open_artifact
from golfpipe.version import source_commit

NAME = "frontier_search"
SEEDS = "0,1"


@dataclass(frozen=True, kw_only=True)
class Case:
    """Bytes, seconds as a multiple of those of `tiny`, and among which designs to search."""

    size: int
    seconds: float
    vary: tuple[str, ...]
    tries: int


_LR = "optim.matrix_lr=0.02,0.04"
CASES = {
    "347kB": Case(size=347_000, seconds=1.2, tries=6, vary=(
        "vocab=3072,4096,6144", "layers=3,4,5,6", "width=96,128,160", "ngram=0,1", _LR,
    )),
    "60kB": Case(size=60_000, seconds=1.0, tries=6, vary=(
        "vocab=512,1024,2048", "layers=2,3,4", "width=32,64,96", "ngram=0,0.5,1", _LR,
    )),
    "150kB": Case(size=150_000, seconds=1.0, tries=4, vary=(
        "vocab=1024,2048,4096", "layers=3,4,6", "width=64,96,128", "ngram=0,1", _LR,
    )),
    "347kB-3x": Case(size=347_000, seconds=3.0, tries=1, vary=(
        "vocab=3072,4096", "layers=3,4", "width=96,128", "optim.matrix_lr=0.02",
    )),
}  # fmt: skip
SCOUTED = ("--set", "optim.momentum=0.95")
"""Of every design: beside 0.99 it gained 0.004 bits per byte, packed, with 4,096 pieces and one seed."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="shards of the challenge's format, with their tokenizer")
    parser.add_argument("--case", choices=list(CASES), action="append")
    parser.add_argument("--work", type=Path, default=Path("artifacts/frontier"))
    add_output_options(parser)
    options = parser.parse_args()
    kept = read_result(options.output, NAME) or {}
    results = dict(kept.get("results", {}))
    data = own_tokens(options.folder, options.work)
    seconds = seconds_of_tiny(data, options.work)
    for name in options.case or CASES:
        results[name] = searched(name, write_texts(options.folder, options.work), seconds, options.work)
        results[name]["tiny"] = tiny_at(CASES[name].size, data, options.work)
        result = {"benchmark": NAME, "commit": source_commit(), "machine": machine(), "tiny_seconds": seconds}
        write_result(options.output, NAME, result | {"results": results})


def searched(name: str, texts: Path, tiny_seconds: float, work: Path) -> dict[str, Any]:
    """Search one case; return its trials with their scores, and how long the search took if it ran at once."""
    case, begin = CASES[name], time.monotonic()
    varied = (word for text in case.vary for word in ("--vary", text))
    answer = golfpipe(
        "plan", str(texts), "--bytes", str(case.size), "--seconds", f"{case.seconds * tiny_seconds:.0f}", *varied,
        "--try", str(case.tries), "--seeds", SEEDS, *SETTINGS, *SCOUTED, "-o", str(work / f"plan-{name}"),
    )  # fmt: skip
    found = {"search_seconds": round(time.monotonic() - begin), "trials": answer["trials"]}
    return asdict(case) | found | {"step_times": answer["step_times"], "estimates": answer["designs"][:10]}


def tiny_at(size: int, data: Path, work: Path) -> dict[str, Any]:
    """Return the scores of `tiny` solved to the bytes, a number for each seed."""
    length = ("--set", f"train.max_steps={STEPS}", "--seeds", SEEDS, "--grid", f"quantize.target_bytes={size}")
    cells = sweep(data, work / "tiny", *PACKING, *length)
    scores = [read_document_scores(open_artifact(Path(cell["artifacts"]["evaluate"]))) for cell in cells]
    halves = [half_scores(score["nats"], score["bytes"]) for score in scores]
    return {
        "chosen_bpb": [half[0] for half in halves],
        "reported_bpb": [half[1] for half in halves],
        "whole_bpb": [cell["val_bpb"] for cell in cells],
        "unquantized_bpb": [cell["unquantized_bpb"] for cell in cells],
        "bytes": [cell["packed_bytes"] for cell in cells],
        "train_seconds": [cell["train_seconds"] for cell in cells],
    }


def table(results: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the results as the lines of a Markdown table: means of the seeds, bits per byte."""
    lines = [
        "| bytes | seconds, `tiny` = 1 | best found | chosen on | other half | whole | `tiny`, whole | searched |",
        "|---:|---:|---|---:|---:|---:|---:|---:|",
    ]
    for found in results.values():
        winner, tiny = found["trials"][-1], found["tiny"]
        scores = (winner["chosen_bpb"], winner["reported_bpb"], winner["whole_bpb"], tiny["whole_bpb"])
        lines.append(
            f"| {found['size']:,} | {found['seconds']:g} | {described(winner)} | "
            + " | ".join(f"{fmean(score):.4f}" for score in scores)
            + f" | {found['search_seconds'] / 60:.0f} min |"
        )
    return "\n".join(lines)


def described(trial: Mapping[str, Any]) -> str:
    """Return what a trial's design is, in words."""
    settings = trial["settings"]
    rows = settings.get("model.bigram_buckets", 2048)
    return (
        f"{settings['data.vocab_size']:,} pieces, {settings['model.num_layers']} x {settings['model.model_dim']},"
        f" {f'{rows:,} bigram rows' if rows else 'no n-gram tables'}, Muon lr {settings['optim.matrix_lr']:g},"
        f" {trial['steps']:,} steps"
    )


if __name__ == "__main__":
    main()
