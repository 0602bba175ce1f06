"""Write a fixture: one artifact of every kind, as small as they come, in the formats of the golfpipe that runs this.

python reliability/formats.py /tmp/golfpipe-formats/schema2    # then copied to tests/fixtures/formats

Whoever changes a format runs it once more with the last commit of the old one and keeps both: tests/reliability holds
every reader to all folders there. Only the command line is used, so that it also runs on an older golfpipe.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import sys
from pathlib import Path
from unittest import mock

import sentencepiece
import yaml

from golfpipe.cli.app import main

STAGES = {
    "defaults": {"data": {"vocab_size": 300}},
    "default_preset": "small",
    "pipeline": {"data": {}, "train": {"inputs": ["data"]}},
    "presets": {
        "small": {
            "model": {
                "vocab_size": 300, "num_layers": 2, "model_dim": 4, "num_heads": 1, "num_kv_heads": 1, "mlp_ratio": 1.0,
                "bigram_buckets": 4, "bigram_dim": 2, "trigram_buckets": 4, "trigram_dim": 2,
            },
            "train": {
                "max_steps": 2, "max_seconds": 0, "batch_tokens": 32, "context_length": 16, "ema_decay": 0.5,
                "validate_every": 0, "validation_targets": 64, "log_every": 1, "checkpoint_every": 0,
            },
            "evaluate": {"context_length": 16, "stride": 16, "max_targets": 300},
            "ttt": {"method": "cosine", "cosine": {"epochs": 1, "batch_sequences": 4, "context_length": 16}},
        }
    },
}  # fmt: skip
COMMANDS = (
    ("data", "tokenize", "texts.jsonl", "--tokenizer", "plain.model", "--processes", "1", "--set",
     "data.val_fraction=0.4", "-o", "data"),
    ("train", "data", "-o", "train"),
    ("quantize", "train", "-o", "quantize"),
    ("pack", "quantize", "-o", "pack"),
    ("ttt", "pack", "data", "-o", "ttt"),
    ("evaluate", "pack", "data", "-o", "evaluate-pack"),
    ("submit", "evaluate-pack", "-o", "submit", "--set", "submit.date=2026-01-01"),
)  # fmt: skip


def make(folder: Path) -> None:
    """Raises RuntimeError with the output of a command that fails."""
    folder.mkdir(parents=True)
    before = Path.cwd()
    os.chdir(folder)
    try:
        _inputs()
        for words in COMMANDS:
            out = io.StringIO()
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out), _small_script():
                code = main([*words, "-q"])
            if code != 0:
                raise RuntimeError(f"golfpipe {' '.join(words)}: exit {code}\n{out.getvalue()}")
        for name in ("texts.jsonl", "plain.model", "stages.yaml"):
            Path(name).unlink()
    finally:
        os.chdir(before)


def _inputs() -> None:
    """A tokenizer without the 240 KB of normalization rules, a little text, and the settings."""
    source = random.Random(0)
    words = ["".join(source.choices("bdgklmnprstaeiou", k=source.randint(2, 7))) for _ in range(60)]
    texts = [" ".join(source.choices(words, k=30)) for _ in range(12)]
    Path("texts.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts), model_writer=model, model_type="bpe", vocab_size=300, byte_fallback=True,
        hard_vocab_limit=False, normalization_rule_name="identity", pad_id=0, bos_id=1, eos_id=2, unk_id=3,
        minloglevel=3,
    )  # fmt: skip
    Path("plain.model").write_bytes(model.getvalue())
    Path("stages.yaml").write_text(yaml.safe_dump(STAGES))


def _small_script() -> contextlib.AbstractContextManager[object]:
    """The generated script takes 60 KB and is no format; nothing stands for it. Older versions wrote none."""
    from golfpipe.stages import submit

    if not hasattr(submit, "_script"):
        return contextlib.nullcontext()
    return mock.patch.object(submit, "_script", lambda job, lineages: (b"pass\n", None))


if __name__ == "__main__":
    make(Path(sys.argv[1]).resolve())
