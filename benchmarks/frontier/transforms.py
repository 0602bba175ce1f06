"""Case transforms at equal bytes and equal text: preset `tiny` on text without one, with `caps`, `caps_before_space`.

python -m benchmarks.frontier.transforms FOLDER --vocabulary 4096        # shards and their tokenizer

Each training reads the same bytes of text, so a transform that makes more tokens takes more steps of the same tokens.
Packed in the same bytes and scored on all validation documents, per byte of the original text. Writes
frontier_transforms.json (benchmarks/keep.py says where).
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks.frontier.yardstick import PACKING, STEPS, own_tokens, sweep, write_texts
from benchmarks.keep import add_output_options, write_result
from benchmarks.same_work import golfpipe
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
    parser.add_argument("--bytes", dest="size", type=int, default=347_000)
    parser.add_argument("--seeds", default="0,1")
    parser.add_argument("--work", type=Path, default=Path("artifacts/frontier"))
    add_output_options(parser)
    options = parser.parse_args()
    own = open_artifact(own_tokens(options.folder, options.work)).manifest.metrics["train_tokens"]
    results: dict[str, Any] = {}
    for vocab_size in options.vocabulary:
        for transform in TRANSFORMS:
            data = tokenized(write_texts(options.folder, options.work), vocab_size, transform, options.work)
            results[f"{vocab_size} {transform}"] = trained(data, own, options.size, options.seeds, options.work)
            kept = {"benchmark": NAME, "commit": source_commit(), "machine": machine(), "bytes": options.size}
            write_result(options.output, NAME, kept | {"results": results})


def tokenized(texts: Path, vocab_size: int, transform: str, work: Path) -> Path:
    """Return token data of the texts with a tokenizer trained on them."""
    out = work / f"{vocab_size}-{transform}"
    settings = ("--set", f"data.vocab_size={vocab_size}", "--set", f"data.transform={transform}")
    golfpipe("data", "tokenize", str(texts), "-o", str(out), *settings)
    return out


def trained(data: Path, own_tokens: int, size: int, seeds: str, work: Path) -> dict[str, Any]:
    """Train as long as `tiny` takes to read the text as `own_tokens` tokens, pack and score each seed."""
    metrics = open_artifact(data).manifest.metrics
    steps = round(STEPS * metrics["train_tokens"] / own_tokens)
    length = ("--set", f"train.max_steps={steps}", "--set", f"quantize.target_bytes={size}", "--seeds", seeds)
    cells = sweep(data, work / "transforms", *PACKING, *length)
    return {
        "steps": steps,
        "train_tokens": metrics["train_tokens"],
        "val_tokens": metrics["val_tokens"],
        "val_bytes": metrics["val_bytes"],
        "trained_bpb": [cell["unquantized_bpb"] for cell in cells],
        "packed_bpb": [cell["val_bpb"] for cell in cells],
        "packed_bytes": [cell["packed_bytes"] for cell in cells],
        "train_seconds": [cell["train_seconds"] for cell in cells],
    }


def table(results: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the results as the lines of a Markdown table: means of the seeds, bits per byte."""
    lines = [
        "| pieces | transform | tokens of training text | steps | seconds | trained | packed | against none |",
        "|---:|---|---:|---:|---:|---:|---:|---:|",
    ]
    for name, row in results.items():
        size, transform = name.split()
        seconds, trained_bpb = fmean(row["train_seconds"]), fmean(row["trained_bpb"])
        packed, without = (fmean(one["packed_bpb"]) for one in (row, results[f"{size} none"]))
        lines.append(
            f"| {int(size):,} | `{transform}` | {row['train_tokens']:,} | {row['steps']:,} | {seconds:.0f}"
            f" | {trained_bpb:.4f} | {packed:.4f} | {packed - without:+.4f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
