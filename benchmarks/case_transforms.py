"""Tokens per byte of text with capitals as they are, as markers in the records' form, and as markers before the space.

python -m benchmarks.case_transforms ../shared/data/mixed_sample       # 2 minutes on one core

FOLDER holds shards and their tokenizer. For each vocabulary and transform a tokenizer is trained on the training
documents and counts the validation documents. Writes benchmarks/results/case_transforms.json, and prints the table of
docs/stages/data.md.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.any_model.text import documents_of
from golfpipe.data.tokenizer import Tokenizer, train_tokenizer
from golfpipe.scoring.byte_table import CASE_MARKERS
from golfpipe.version import source_commit

RESULT = Path(__file__).parent / "results" / "case_transforms.json"
TRANSFORMS = ("none", *CASE_MARKERS)
VOCABULARIES = (1024, 4096)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="shards, and the tokenizer that they were made with")
    parser.add_argument("--vocabulary", type=int, nargs="+", default=list(VOCABULARIES))
    options = parser.parse_args()
    old = Tokenizer.load(next(options.folder.glob("*.model")))
    train, val = (documents_of(options.folder, split, old) for split in ("train", "val"))
    results = count_tokens(train, val, options.vocabulary)
    kept = {"benchmark": "case_transforms", "commit": source_commit(), "results": results}
    RESULT.write_text(json.dumps(kept, indent=2) + "\n")
    print(table(results))


def count_tokens(train: Sequence[str], val: Sequence[str], vocabularies: Iterable[int]) -> dict[str, dict[str, Any]]:
    """Return what each vocabulary makes of the validation documents, by "pieces transform"; BOS is not counted."""
    num_bytes = sum(len(text.encode("utf-8")) for text in val)
    results = {}
    for vocab_size in vocabularies:
        for transform in TRANSFORMS:
            tokenizer = train_tokenizer(train, vocab_size=vocab_size, normalization="identity", transform=transform)
            documents = tokenizer.encode(val)
            assert sum(int(tokenizer.sizes(ids).sum()) for ids in documents) == num_bytes
            tokens = np.concatenate([ids[1:] for ids in documents])
            markers = [tokenizer.pieces.index(marker) for marker in CASE_MARKERS.get(transform, "")]
            results[f"{vocab_size} {transform}"] = {
                "vocab_size": vocab_size,
                "transform": transform,
                "bytes": num_bytes,
                "tokens": len(tokens),
                "markers": int(np.isin(tokens, markers).sum()),
                "pieces_with_capitals": sum(
                    kind == "normal" and piece != piece.lower()
                    for piece, kind in zip(tokenizer.pieces, tokenizer.piece_types, strict=True)
                ),
            }
    return results


def table(results: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the results as the lines of a Markdown table."""
    lines = [
        "| pieces | transform | tokens | tokens per byte | against none | against caps | markers |",
        "|---:|---|---:|---:|---:|---:|---:|",
    ]
    for row in results.values():
        size, tokens = row["vocab_size"], row["tokens"]
        against_none, against_caps = (tokens / results[f"{size} {name}"]["tokens"] - 1 for name in ("none", "caps"))
        lines.append(
            f"| {size:,} | `{row['transform']}` | {tokens:,} | {tokens / row['bytes']:.4f} | {against_none:+.1%}"
            f" | {against_caps:+.1%} | {row['markers'] / tokens:.1%} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
