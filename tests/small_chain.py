"""A folder in which `golfpipe` works on a very small scale: its own stages.yaml, so that every command of the README
and the help runs as written, in a second instead of minutes."""

from __future__ import annotations

import copy
import json
import random
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]

SMALL_MODEL = {
    "vocab_size": 384,
    "num_layers": 2,
    "model_dim": 32,
    "num_heads": 2,
    "num_kv_heads": 1,
    "bigram_buckets": 64,
    "bigram_dim": 8,
    "trigram_buckets": 64,
    "trigram_dim": 8,
}
SMALL_TRAIN = {
    "max_steps": 6,
    "max_seconds": 0,
    "batch_tokens": 256,
    "context_length": 64,
    "ema_decay": 0.5,
    "validate_every": 3,
    "validation_targets": 512,
    "log_every": 2,
    "checkpoint_every": 2,
}
SMALL_EVALUATE = {"context_length": 64, "stride": 32, "max_targets": 2000}


SMALL_TTT = {
    "cosine": {"epochs": 1, "batch_sequences": 4, "context_length": 64},
    "score_first_lora": {"chunk_tokens": 64, "context_length": 64, "batch_documents": 8},
    "score_first_sgd": {"epochs": 1, "chunk_tokens": 256, "batch_sequences": 4, "context_length": 64},
}


def write_small_stages(folder: Path) -> Path:
    """stages.yaml in `folder`: the real one with every preset shrunk to the sizes above."""
    raw = yaml.safe_load((ROOT / "stages.yaml").read_text())
    raw["defaults"] = {"data": {"vocab_size": SMALL_MODEL["vocab_size"]}, "quantize": {"calibration_tokens": 4096}}
    for name, preset in raw["presets"].items():
        if name == "pr951":  # settings of quantize alone
            continue
        small = copy.deepcopy(SMALL_MODEL)
        switches = ("parallel_residual", "depth_scale", "loop")
        for key in ("kv_sharing", "exclusive_attention", "mask_document_boundaries", *switches):
            value = preset.get("model", {}).get(key)
            if value is not None:
                small[key] = {"last": 1} if isinstance(value, dict) else value
        if "loop" in small:
            small["loop"] = {"first": 0, "last": 0, "passes": 2}
        preset["model"] = small
        preset["train"] = preset.get("train", {}) | SMALL_TRAIN
        if preset["train"].get("precision") == "auto":  # numbers of tests are those of any machine
            preset["train"]["precision"] = "fp32"
        preset["evaluate"] = dict(SMALL_EVALUATE)
        preset["ttt"] = {"method": preset.get("ttt", {}).get("method", "cosine"), **copy.deepcopy(SMALL_TTT)}
    path = folder / "stages.yaml"
    path.write_text(yaml.safe_dump(raw, sort_keys=False))
    return path


def write_texts(folder: Path) -> None:
    """my-texts/: 60 short documents as .txt and .jsonl."""
    source = random.Random(0)
    syllables = [c + v for c in "bcdfghklmnprst" for v in "aeiou"]
    words = ["".join(source.choices(syllables, k=source.randint(1, 4))) for _ in range(300)]
    texts = [" ".join(source.choices(words, k=120)) + "." for _ in range(60)]
    target = folder / "my-texts"
    target.mkdir()
    (target / "lines.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts[:40]))
    for number, text in enumerate(texts[40:]):
        (target / f"{number}.txt").write_text(text)
