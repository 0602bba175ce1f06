"""Preset `tiny` against the PR's code on the same work: 250 steps of 16 x 256 tokens in file order, scored `chunked` at
256 over the first 99,840 validation targets.

python -m benchmarks.same_work ../shared/data/fineweb_sample --seeds 0 1 2

The folder holds FineWeb shards in the challenge's format and the tokenizer. The PR's code reached val_bpb 2.680 and
2.690 (two seeds), 2.625 and 2.636 with its n-gram tables repaired, 2.627 and 2.638 after its quantization, in 669,000
bytes. Writes same_work.json (benchmarks/keep.py says where); about a minute per seed on 2 cores.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.keep import add_output_options, write_result
from benchmarks.timing import machine

SCORING = ("--set", "evaluate.method=chunked", "--set", "evaluate.context_length=256", "--set", "evaluate.stride=256",
           "--set", "evaluate.max_targets=99840")  # fmt: skip


def golfpipe(*words: str) -> dict[str, Any]:
    """Run a command and return its JSON answer."""
    command = [sys.executable, "-m", "golfpipe", *words, "--json"]
    answer = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    return dict(json.loads(answer.stdout))


def run_seed(data: str, seed: int, work: Path) -> dict[str, Any]:
    """Train, quantize, pack and score one seed; returns its numbers."""
    run = work / f"seed{seed}"
    settings = ("--preset", "tiny", "--seed", str(seed))
    trained = golfpipe("train", data, "-o", str(run / "train"), *settings)
    golfpipe("quantize", str(run / "train"))
    packed = golfpipe("pack", str(run / "quantize"))
    before = golfpipe("evaluate", str(run / "train"), data, *SCORING)
    after = golfpipe("evaluate", str(run / "pack"), data, *SCORING)
    return {
        "seed": seed,
        "steps": trained["metrics"]["steps"],
        "tokens": trained["metrics"]["tokens"],
        "scored_targets": after["metrics"]["scored_targets"],
        "val_bpb_trained": before["metrics"]["val_bpb"],
        "val_bpb_packed": after["metrics"]["val_bpb"],
        "packed_bytes": packed["metrics"]["packed_bytes"],
        "train_seconds": trained["metrics"]["train_seconds"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="FineWeb shards and tokenizer")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--work", type=Path, default=Path("artifacts/same-work"))
    add_output_options(parser)
    options = parser.parse_args()
    tokenizer = next(iter(sorted(options.folder.glob("*.model"))))
    data = str(options.work / "data")
    golfpipe("data", "add", str(options.folder), "--tokenizer", str(tokenizer), "-o", data)
    rows = []
    for seed in options.seeds:
        rows.append(run_seed(data, seed, options.work))
        print(json.dumps(rows[-1]), flush=True)
    means = {
        key: statistics.mean(row[key] for row in rows) for key in ("val_bpb_trained", "val_bpb_packed", "packed_bytes")
    }
    write_result(options.output, "same_work", {"machine": machine(), "seeds": rows, "mean": means})
    print(json.dumps(means))


if __name__ == "__main__":
    main()
