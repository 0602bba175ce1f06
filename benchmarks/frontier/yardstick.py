"""The text, preset `tiny` on it, and how everything is scored: disjoint windows over all validation documents."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.any_model.text import documents_of
from benchmarks.same_work import golfpipe
from golfpipe.data.shard_format import SPLITS
from golfpipe.data.tokenizer import Tokenizer

STEPS = 1500
"""Of the yardstick: once through the text of 6 million tokens."""
SETTINGS = (
    *("--preset", "tiny", "--threads", "1"),
    *("--set", "train.precision=bf16", "--set", "train.compile=on", "--set", "train.validate_every=0"),
)
SCORING = ("--set", "evaluate.method=chunked", "--set", "evaluate.max_targets=0")
PACKING = ("--set", "train.qat_start=1.0", "--set", "quantize.method=trellis")


def write_texts(shards: Path, work: Path) -> Path:
    """Write the documents of the shards as train.jsonl and val.jsonl, if they are not there; return their folder."""
    texts = work / "texts"
    tokenizer = Tokenizer.load(only_model(shards))
    texts.mkdir(parents=True, exist_ok=True)
    for split in SPLITS:
        path = texts / f"{split}.jsonl"
        if not path.exists():
            lines = (json.dumps({"text": text}) + "\n" for text in documents_of(shards, split, tokenizer))
            path.write_text("".join(lines))
    return texts


def only_model(shards: Path) -> Path:
    """Return the tokenizer beside the shards."""
    return next(shards.glob("*.model"))


def own_tokens(shards: Path, work: Path) -> Path:
    """Return token data of the texts with the tokenizer of the shards."""
    data = work / "own-tokens"
    golfpipe(
        "data", "tokenize", str(write_texts(shards, work)), "--tokenizer", str(only_model(shards)), "-o", str(data)
    )
    return data


def yardstick_seconds(data: Path, work: Path) -> float:
    """Return the seconds of the yardstick's training by its step time, measured once."""
    kept = work / "tiny_seconds.json"
    if not kept.exists():
        length = ("--set", f"train.max_steps={STEPS}")
        words = ("train", str(data), *SETTINGS, *length, "-o", str(work / "never"), "--dry-run", "--measure")
        kept.write_text(json.dumps(golfpipe(*words)["plan"]["seconds"]))
    return float(json.loads(kept.read_text()))


def sweep(source: Path, out: Path, *words: str) -> list[dict[str, Any]]:
    """Run a sweep of trainings and return its cells."""
    return list(golfpipe("sweep", str(source), *SETTINGS, *SCORING, *words, "-o", str(out))["cells"])
