"""Case transforms at equal bytes and equal text: preset `tiny` on text without one, with `caps`, `caps_before_space`.

python -m benchmarks.frontier.transforms FOLDER --vocabulary 4096        # shards and their tokenizer

Each training reads the same bytes of text, so a transform that makes more tokens takes more steps of the same tokens.
Packed in the same bytes and scored on all validation documents, per byte of the original text. The winners of
frontier_search.json are trained with `caps_before_space` too, for as many steps as without. Writes
frontier_transforms.json (benchmarks/keep.py says where), from which --winner alone keeps the rest.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks.frontier.search import NAME as SEARCH
from benchmarks.frontier.search import SCOUTED
from benchmarks.frontier.yardstick import PACKING, STEPS, own_tokens, sweep, write_texts
from benchmarks.keep import add_output_options, read_result, write_result
from benchmarks.same_work import golfpipe
from benchmarks.tables import RESULTS
from benchmarks.timing import machine
from golfpipe.scoring.byte_table import CASE_MARKERS
from golfpipe.store.artifact import open_artifact
from golfpipe.version import source_commit

NAME = "frontier_transforms"
BATCH_TOKENS = 4096
TRANSFORMS = ("none", *CASE_MARKERS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="shards of the challenge's format, with their tokenizer")
    parser.add_argument("--vocabulary", type=int, nargs="+", default=[1024, 4096])
    parser.add_argument("--winner", action="append", help="a case of frontier_search.json, in place of preset tiny")
    parser.add_argument("--bytes", dest="size", type=int, default=347_000)
    parser.add_argument("--seeds", default="0,1")
    parser.add_argument("--work", type=Path, default=Path("artifacts/frontier"))
    add_output_options(parser)
    options = parser.parse_args()
    kept = read_result(options.output, NAME) or {"results": {}, "winners": {}}
    about = {"benchmark": NAME, "commit": source_commit(), "machine": machine(), "bytes": options.size}
    texts = write_texts(options.folder, options.work)
    for name in options.winner or ():
        kept["winners"][name] = winner(name, texts, options.seeds, options.work)
        write_result(options.output, NAME, kept | about)
    if options.winner:
        return
    own = open_artifact(own_tokens(options.folder, options.work)).manifest.metrics["train_tokens"]
    for vocab_size in options.vocabulary:
        for transform in TRANSFORMS:
            data = tokenized(texts, vocab_size, transform, options.work)
            metrics = open_artifact(data).manifest.metrics
            steps = round(STEPS * metrics["train_tokens"] / own)
            tokens = {name: metrics[name] for name in ("train_tokens", "val_tokens", "val_bytes")}
            found = trained(data, steps, options.size, options.seeds, options.work)
            kept["results"][f"{vocab_size} {transform}"] = found | tokens
            write_result(options.output, NAME, kept | about)


def winner(name: str, texts: Path, seeds: str, work: Path) -> dict[str, Any]:
    """Train the design that a search found on transformed text; its scores without stand beside."""
    case = read_result(RESULTS, SEARCH)["results"][name]
    found = case["trials"][-1]
    data = tokenized(texts, found["settings"]["data.vocab_size"], TRANSFORMS[-1], work)
    of_model = {key: value for key, value in found["settings"].items() if not key.startswith("data.")}
    words = [word for key, value in of_model.items() for word in ("--set", f"{key}={value}")]
    after = trained(data, found["steps"], case["size"], seeds, work, *SCOUTED, *words)
    return after | {"bytes": case["size"], "without_bpb": found["whole_bpb"]}


def tokenized(texts: Path, vocab_size: int, transform: str, work: Path) -> Path:
    """Return token data of the texts with a tokenizer trained on them."""
    out = work / f"{vocab_size}-{transform}"
    settings = ("--set", f"data.vocab_size={vocab_size}", "--set", f"data.transform={transform}")
    golfpipe("data", "tokenize", str(texts), "-o", str(out), *settings)
    return out


def trained(data: Path, steps: int, size: int, seeds: str, work: Path, *words: str) -> dict[str, Any]:
    """Train for so many steps, pack into the bytes and score each seed."""
    length = ("--set", f"train.max_steps={steps}", "--set", f"quantize.target_bytes={size}", "--seeds", seeds)
    cells = sweep(data, work / "transforms", *PACKING, *length, *words)
    return {
        "steps": steps,
        "trained_bpb": [cell["unquantized_bpb"] for cell in cells],
        "packed_bpb": [cell["val_bpb"] for cell in cells],
        "packed_bytes": [cell["packed_bytes"] for cell in cells],
        "train_seconds": [cell["train_seconds"] for cell in cells],
    }


def table(results: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the results as the lines of a Markdown table: means of the seeds, bits per byte."""
    lines = [
        "| pieces | transform | tokens of training text | steps | trained | packed | against none |",
        "|---:|---|---:|---:|---:|---:|---:|",
    ]
    for name, row in results.items():
        size, transform = name.split()
        trained_bpb = fmean(row["trained_bpb"])
        packed, without = (fmean(one["packed_bpb"]) for one in (row, results[f"{size} none"]))
        lines.append(
            f"| {int(size):,} | `{transform}` | {row['train_tokens']:,} | {row['steps']:,}"
            f" | {trained_bpb:.4f} | {packed:.4f} | {packed - without:+.4f} |"
        )
    return "\n".join(lines)


def winners_table(winners: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the same of the designs that were found, at equal steps."""
    lines = ["| bytes | steps | `none` | `caps_before_space` | |", "|---:|---:|---:|---:|---:|"]
    for row in winners.values():
        after, before = fmean(row["packed_bpb"]), fmean(row["without_bpb"])
        lines.append(f"| {row['bytes']:,} | {row['steps']:,} | {before:.4f} | {after:.4f} | {after - before:+.4f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
