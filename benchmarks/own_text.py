"""Own text by plain commands, against the same documents shuffled by hand and against the order of the files.

python -m benchmarks.own_text FOLDER          # texts, best in several languages, each in a folder of its own

FOLDER is tokenized, preset `demo` is trained on it, and the whole validation split is scored, as docs/tutorial.md does.
The same tokenizer then encodes the documents in the order of the files, and their tokens are shuffled here, document
by document. Documents, tokens and steps are the same in all. Writes own_text.json (benchmarks/keep.py says where); some
minutes on 2 cores.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.keep import add_output_options, write_result
from benchmarks.same_work import golfpipe
from benchmarks.timing import machine
from golfpipe.data.shard_files import ShardFile, list_shards
from golfpipe.data.shard_format import SPLITS
from golfpipe.data.shard_writer import ShardWriter
from golfpipe.version import source_commit


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="text files and folders of them")
    parser.add_argument("--shuffles", type=int, default=1, help="how many orders are drawn by hand; default 1")
    parser.add_argument("--work", type=Path, default=Path("artifacts/own-text"))
    add_output_options(parser)
    options = parser.parse_args()
    results = compare_orders(options.folder, options.work, options.shuffles)
    print(json.dumps(results, indent=2))
    kept = {"benchmark": "own_text", "commit": source_commit(), "machine": machine(), "results": results}
    write_result(options.output, "own_text", kept)


def compare_orders(folder: Path, work: Path, shuffles: int) -> dict[str, dict[str, Any]]:
    """Return the numbers of each order of the documents: tokens, steps, bits per byte over the whole split."""
    plain, in_order = work / "plain" / "data", work / "in-order" / "data"
    tokenized = golfpipe("data", "tokenize", str(folder), "-o", str(plain))["metrics"]
    tokenizer = str(plain / "tokenizer.model")
    golfpipe("data", "tokenize", str(folder), "-o", str(in_order), "--tokenizer", tokenizer,
             "--set", "data.shuffle=false")  # fmt: skip
    artifacts = {"plain commands": plain}
    for seed in range(shuffles):
        shards = work / f"by-hand-{seed}" / "shards"
        shuffle_shards(in_order, shards, tokenized["bos_id"], seed)
        golfpipe("data", "add", str(shards), "--tokenizer", tokenizer, "-o", str(shards.parent / "data"))
        artifacts[f"shuffled by hand, seed {seed}"] = shards.parent / "data"
    artifacts["in the order of the files"] = in_order
    results = {name: _trained(data) for name, data in artifacts.items()}
    by_hand = [numbers["val_bpb"] for name, numbers in results.items() if name.startswith("shuffled")]
    for numbers in results.values():
        numbers["ratio_to_shuffled"] = numbers["val_bpb"] * len(by_hand) / sum(by_hand)
    return results


def shuffle_shards(source: Path, out: Path, bos_id: int, seed: int) -> None:
    """Write the shards of both splits of `source` to `out`, their documents in a random order. Each starts with BOS."""
    out.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(seed)
    for split in SPLITS:
        tokens = np.concatenate([ShardFile(path)[:] for path in list_shards(source, split)])
        documents = np.split(tokens, np.flatnonzero(tokens == bos_id)[1:])
        order = generator.permutation(len(documents))
        with ShardWriter(out, split, shard_tokens=max(len(tokens), 1)) as writer:
            writer.write(np.concatenate([documents[index] for index in order]))


def _trained(data: Path) -> dict[str, Any]:
    """Train on token data with the plain command, and score the whole validation split."""
    run = data.parent
    trained = golfpipe("train", str(data), "--preset", "demo", "-o", str(run / "train"))["metrics"]
    scored = golfpipe("evaluate", str(run / "train"), str(data), "-o", str(run / "evaluate-train"))["metrics"]
    numbers = {
        "tokens": trained["tokens"],
        "steps": trained["steps"],
        "scored_targets": scored["scored_targets"],
        "val_bpb": scored["val_bpb"],
    }
    print(f"{run.name}: {json.dumps(numbers)}", flush=True)
    return numbers


if __name__ == "__main__":
    main()
