"""A whole chain of real artifacts on the smallest scale, made by the commands themselves: what the programs break.

Every kind of artifact is in it, every coder and kind of code, a records folder, a sweep, an interrupted run with its
checkpoint, and a checkpoint of the pull request's script. About 10 seconds on one core.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import shutil
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import torch
import yaml

from golfpipe.cli.app import main
from golfpipe.config.checkpoint_names import _theirs, infer_model
from golfpipe.model.config import ModelConfig, parameter_shapes
from golfpipe.store.files import partial_folder
from golfpipe.sweeps.results import CellResult, write_results

MODEL = {
    "vocab_size": 300, "num_layers": 2, "model_dim": 8, "num_heads": 2, "num_kv_heads": 1, "mlp_ratio": 2.0,
    "bigram_buckets": 8, "bigram_dim": 2, "trigram_buckets": 8, "trigram_dim": 2,
}  # fmt: skip
STAGES = {
    "default_preset": "small",
    "defaults": {"data": {"vocab_size": MODEL["vocab_size"]}},
    "pipeline": {
        "data": {},
        "train": {"inputs": ["data"]},
        "quantize": {"inputs": ["train", "data"]},
        "pack": {"inputs": ["quantize"]},
        "ttt": {"inputs": ["pack", "data"]},
        "evaluate-pack": {"stage": "evaluate", "inputs": ["pack", "data"]},
        "submit": {"inputs": ["evaluate-pack"]},
    },
    "presets": {
        "small": {
            "about": "the smallest model",
            "model": MODEL,
            "train": {
                "max_steps": 4, "max_seconds": 0, "batch_tokens": 64, "context_length": 16, "ema_decay": 0.5,
                "validate_every": 2, "validation_targets": 128, "log_every": 1, "checkpoint_every": 1,
            },
            "evaluate": {"context_length": 16, "stride": 16, "max_targets": 400},
            "ttt": {"method": "cosine", "cosine": {"epochs": 1, "batch_sequences": 4, "context_length": 16}},
        }
    },
}  # fmt: skip
DATA_SETTINGS = ("--set", "data.shard_tokens=1024", "--set", "data.val_fraction=0.2")
PREVIOUS = {"num_layers": 2, "model_dim": 8, "num_heads": 2, "num_kv_heads": 1, "kv_sharing": "none", "vocab_size": 64,
            "bigram_buckets": 4, "bigram_dim": 2, "trigram_buckets": 0, "mlp_ratio": 2.0}  # fmt: skip
FOREIGN = {
    "author": "A", "github_id": "a", "name": "N", "blurb": "b", "date": "2026-03-18", "val_loss": 2.07374725,
    "val_bpb": 1.22818993, "bytes_total": 15_815_916, "bytes_code": 100, "track": "10min_16mb",
    "seed_results": {"1337": {"val_bpb": 1.22818993, "val_loss": 2.07374725, "artifact_bytes": 15_815_916}},
}  # fmt: skip
FOREIGN_LOG = """seed: 1337
val_loader:shards pattern=./data/fineweb_val_*.bin tokens:62021632
step:7395/20000 val_loss:2.0641 val_bpb:1.2225 train_time:599035ms step_avg:81.14ms
Code size: 100 bytes
Total submission size int8+zlib: 15815916 bytes
final_int8_zlib_roundtrip_exact val_loss:2.07374725 val_bpb:1.22818993 eval_time:2544ms
"""


@dataclass(frozen=True)
class SmallRun:
    """Where everything is, below `folder`."""

    folder: Path

    @property
    def run(self) -> Path:
        return self.folder / "artifacts" / "small"

    @property
    def data(self) -> Path:
        return self.folder / "artifacts" / "data" / "texts"


def texts(count: int = 40, seed: int = 0) -> list[str]:
    """Short documents of invented words."""
    source = random.Random(seed)
    syllables = [c + v for c in "bcdfghklmnprst" for v in "aeiou"]
    words = ["".join(source.choices(syllables, k=source.randint(1, 4))) for _ in range(100)]
    return [" ".join(source.choices(words, k=60)) + "." for _ in range(count)]


def build(folder: Path) -> SmallRun:
    """Make the chain in the empty `folder`. Raises RuntimeError with the output of a command that fails."""
    small = SmallRun(folder)
    with working_in(folder):
        Path("stages.yaml").write_text(yaml.safe_dump(STAGES, sort_keys=False))
        documents = texts()
        Path("texts.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in documents))
        command("data", "tokenize", "texts.jsonl", "--processes", "1", *DATA_SETTINGS)
        command("train", str(small.data), "--name", "small")
        command("quantize", "artifacts/small/train")
        command(
            "quantize", "artifacts/small/train", "--set", "quantize.method=rate", "-o", "artifacts/small/quantize-rate"
        )
        command(
            "quantize",
            "artifacts/small/train",
            "--set",
            "quantize.method=trellis",
            "-o",
            "artifacts/small/quantize-trellis",
        )
        command("pack", "artifacts/small/quantize")
        command("pack", "artifacts/small/quantize", "--set", "pack.coder=nibble", "-o", "artifacts/small/pack-nibble")
        command("pack", "artifacts/small/quantize-rate", "-o", "artifacts/small/pack-rate")
        command("pack", "artifacts/small/quantize-trellis", "-o", "artifacts/small/pack-trellis")
        command("ttt", "artifacts/small/pack", str(small.data))
        for name in ("train", "pack"):
            command("evaluate", f"artifacts/small/{name}", str(small.data))
        _submission()
        _sweep_results(small.run / "sweep")
        _interrupted_training(small)
        torch.save(_previous_weights(), "final_model.pt")
        _foreign_folder(folder / "foreign")
        _bare_folder(small, folder / "bare")
    return small


def command(*words: str) -> None:
    """Run one command quietly. Raises RuntimeError for another exit code than 0."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        code = main([*words, "-q"])
    if code != 0:
        raise RuntimeError(f"golfpipe {' '.join(words)}: exit {code}\n{out.getvalue()}")


@contextlib.contextmanager
def working_in(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def _submission() -> None:
    """With a placeholder for the script, which would take longer to generate than all the rest."""
    from golfpipe.stages import submit as stage

    with mock.patch.object(stage, "_script", lambda job, lineages: (b"x" * 100, None)):
        command("submit", "artifacts/small/evaluate-pack")


def _sweep_results(folder: Path) -> None:
    rows = [
        CellResult(settings={"quantize.mlp.bits": bits}, state="done", val_bpb=3.0 - bits / 10, val_loss_nats=4.0,
                   packed_bytes=1000 * bits, total_bytes=2000 * bits, limit_bytes=16_000_000, fits=True, eligible=True,
                   seconds=1.0, pareto=True, artifacts={})
        for bits in (3, 4, 5)
    ]  # fmt: skip
    write_results(folder, rows)


def _interrupted_training(small: SmallRun) -> None:
    """artifacts/begun/.train.partial: what a run that was stopped after two steps leaves."""
    from golfpipe.stages import train as stage

    out, stop_requested = io.StringIO(), stage._Events.stop_requested

    def stop_at_two(events: Any) -> bool:
        if events.trainer.steps_done >= 2:
            signal.raise_signal(signal.SIGTERM)
        return stop_requested(events)

    patched = mock.patch.object(stage._Events, "stop_requested", stop_at_two)
    with patched, contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        code = main(["train", str(small.data), "--name", "begun", "-q"])
    if code not in (130, 143):
        raise RuntimeError(f"the interrupted training ended with {code}\n{out.getvalue()}")
    train = small.run.with_name("begun") / "train"
    partial_folder(train).rename(train.with_name(".train.partial"))  # a name without the token, which is random


def _previous_weights() -> dict[str, torch.Tensor]:
    """A state dict in the names of the pull request's script, which `import` understands."""
    config = ModelConfig(**PREVIOUS)  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(0)
    state = {
        _theirs(name, list(range(config.num_layers))): torch.randn(shape, generator=generator) * 0.1
        for name, shape in parameter_shapes(config).items()
    }
    infer_model({name: tuple(tensor.shape) for name, tensor in state.items()}, "small")
    return state


def _foreign_folder(folder: Path) -> None:
    """A records folder that no artifact belongs to."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "README.md").write_text("# N\n")
    (folder / "submission.json").write_text(json.dumps(FOREIGN, indent=2))
    (folder / "train_gpt.py").write_text("x" * 100)
    (folder / "train_seed1337.log").write_text(FOREIGN_LOG)


def _bare_folder(small: SmallRun, folder: Path) -> None:
    """Shards, tokenizer and log outside of any artifact, so that no checksum covers them."""
    folder.mkdir()
    for path in [*small.data.glob("*.bin"), *small.data.glob("*.model"), small.run / "train" / "log.jsonl"]:
        shutil.copy(path, folder / path.name)
