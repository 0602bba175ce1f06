"""Peak memory: training against the number of tokens, and golfpipe against the plain baseline, a process for each.

python -m benchmarks memory [--quick]
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.child import measured
from benchmarks.evaluation import golfpipe_scoring, plain_scoring, text
from benchmarks.settings import preset
from benchmarks.train_step import golfpipe_trainer, plain_trainer
from benchmarks.ttt import golfpipe_steps, plain_step
from golfpipe.api import Artifact, demo_data
from golfpipe.data.shard_format import shard_header
from golfpipe.data.token_data import load_shards
from golfpipe.scoring.windows import batch_windows, plan_windows

TOKENS = (1_000_000, 100_000_000)
TOY = (20_000, 40_000)
STEPS = 20
PAIRS = ("train_step", "ttt", "evaluation")


def run(quick: bool) -> dict[str, Any]:
    """Peak resident bytes of whole processes, imports included (about 0.3 GB of torch)."""
    results: dict[str, Any] = {
        "imports alone": {"peak_memory_bytes": measured(f"{__name__}:nothing").peak_memory_bytes}
    }
    name = "tiny" if quick else "16l"
    for pair in PAIRS:
        ours, plain = (measured(f"{__name__}:{pair}", side, name).peak_memory_bytes for side in ("golfpipe", "plain"))
        results[f"{pair}, {name}"] = {
            "peak_memory_bytes": ours, "plain_peak_memory_bytes": plain, "ratio_to_plain": ours / plain
        }  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        demo = demo_data(out=Path(folder) / "demo")
        peaks = [training_peak(Path(folder) / str(count), demo, count) for count in (TOY if quick else TOKENS)]
    for count, peak in zip(TOY if quick else TOKENS, peaks, strict=True):
        results[f"train, {count:,} tokens on disk"] = {
            "peak_memory_bytes": peak, "ratio_to_smallest": peak / peaks[0]
        }  # fmt: skip
    return results


def training_peak(folder: Path, demo: Artifact, num_tokens: int) -> int:
    """Peak of `golfpipe train` on one shard of `num_tokens`: the demo text over and over."""
    write_shards(folder, demo, num_tokens)
    measured("golfpipe", "data", "add", str(folder), "-q")
    words = ("train", str(folder), "--preset", "tiny", "-o", str(folder / "train"), "-q")
    return measured("golfpipe", *words, "--set", f"train.max_steps={STEPS}").peak_memory_bytes


def write_shards(folder: Path, demo: Artifact, num_tokens: int) -> None:
    """A folder of shards as downloaded: train, validation and tokenizer."""
    folder.mkdir()
    tokens = np.concatenate([shard[:] for shard in load_shards(demo, "train")])
    with (folder / "synthetic_train_000000.bin").open("wb") as stream:
        stream.write(shard_header(num_tokens))
        np.resize(tokens, num_tokens).tofile(stream)
    validation = load_shards(demo, "val")[0][:40_000]
    (folder / "synthetic_val_000000.bin").write_bytes(shard_header(len(validation)) + validation.tobytes())
    tokenizer = demo.file(demo.manifest.metrics["tokenizer_file"])
    (folder / "demo.model").write_bytes(tokenizer.read_bytes())


# ---- what the children run --------------------------------------------------------------------------------------


def nothing() -> None:
    """The imports of this module."""


def train_step(side: str, name: str) -> None:
    """Two steps of 4 x 512 tokens in bf16."""
    if side == "golfpipe":
        trainer = golfpipe_trainer(name, 4, 512, "bf16")
        trainer.step()
        trainer.step()
        return
    plain, batch = plain_trainer(name, 4, 512, "bf16")
    for _ in range(2):
        plain.gradients(*batch)
        plain.update()


def ttt(side: str, name: str) -> None:
    """Two steps of 4 x 512 tokens in bf16."""
    config, tokens = preset(name), text(4 * 512 + 1)
    if side == "golfpipe":
        golfpipe_steps(config, tokens, 4, 2, lambda targets: None)
        return
    step = plain_step(config, tokens, 4)
    step()
    step()


def evaluation(side: str, name: str) -> None:
    """32 windows of 512 at stride 64 in bf16."""
    config, tokens = preset(name), text(512 + 31 * 64 + 1)
    settings = replace(config.evaluate, context_length=512, stride=64, precision="bf16")
    if side == "golfpipe":
        golfpipe_scoring(config, settings, tokens)()
        return
    plain_scoring(
        config, tokens, list(batch_windows(plan_windows(len(tokens) - 1, settings), settings.pass_tokens("cpu")))
    )()
