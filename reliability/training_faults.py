"""Training that goes wrong: losses that are not finite, spikes, shards that are altered, cut short or gone, too little
memory. It stops or goes on as configured and says where; the same command then ends in the model of the untroubled run.
"""

from __future__ import annotations

import math
import os
import random
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import torch

from golfpipe.cli.app import main
from golfpipe.data.shard_format import SHARD_HEADER_BYTES
from golfpipe.stages import training_start
from golfpipe.store.artifact import open_artifact
from golfpipe.training.guarded import GuardedTrainer
from reliability.stage_commands import content_of, run_child, run_words, words_of, workplace

STEPS = 12
SETTINGS = ("--set", f"train.max_steps={STEPS}", "--set", "train.checkpoint_every=4", "--set", "train.spike_nats=3")
DATA = Path("artifacts/data/texts")
Loss = Callable[..., torch.Tensor]


@dataclass(frozen=True)
class Trouble:
    """What goes wrong, and what is expected then."""

    name: str
    wrap: Callable[[GuardedTrainer, Loss, int], Loss]
    """Trainer, its loss and the step at which it happens -> the loss that the run sees."""
    options: tuple[str, ...]
    code: int
    says: str
    """Part of the message; {step} is the step, {fits} the sequences that fit."""


def _scaled(factor: float) -> Callable[[GuardedTrainer, Loss, int], Loss]:
    def wrap(trainer: GuardedTrainer, loss: Loss, step: int) -> Loss:
        return lambda *batch: loss(*batch) * (factor if trainer.steps_done == step - 1 else 1.0)

    return wrap


def _little_memory(trainer: GuardedTrainer, loss: Loss, step: int) -> Loss:
    def limited(inputs_BT: torch.Tensor, *others: Any) -> torch.Tensor:
        if trainer.steps_done >= step - 1 and len(inputs_BT) > 2:
            raise torch.OutOfMemoryError("out of memory")
        return loss(inputs_BT, *others)

    return limited


def _damage(change: Callable[[Path], object]) -> Callable[[GuardedTrainer, Loss, int], Loss]:
    """Every train shard, while it is in use."""

    def wrap(trainer: GuardedTrainer, loss: Loss, step: int) -> Loss:
        def damaging(*batch: Any) -> torch.Tensor:
            if trainer.steps_done == step - 1:
                for path in DATA.glob("train_*.bin"):
                    change(path)
            return loss(*batch)

        return damaging

    return wrap


def _other_tokens(path: Path) -> None:
    """Write other tokens of the same number into a shard."""
    with path.open("r+b") as file:
        file.seek(SHARD_HEADER_BYTES)
        file.write(bytes([7, 0]) * 100)


SKIP = ("--set", "train.on_bad_step=skip")
TROUBLES = (
    Trouble("NaN, stop", _scaled(math.nan), (), 1, "loss is nan in step {step};"),
    Trouble("infinity, stop", _scaled(math.inf), (), 1, "loss is inf in step {step};"),
    Trouble("spike, stop", _scaled(5.0), (), 1, "over train.spike_nats=3 above the mean"),
    Trouble("NaN, skip", _scaled(math.nan), SKIP, 0, "step {step} skipped: the loss is nan"),
    Trouble("spike, skip", _scaled(5.0), SKIP, 0, "step {step} skipped: the loss is"),
    Trouble("shard cut short", _damage(lambda path: os.truncate(path, 1030)), (), 3, "train_00000"),
    Trouble("shard replaced", _damage(_other_tokens), (), 3, "was changed while it was in use"),
    Trouble("shard gone", _damage(Path.unlink), (), 2, "train_00000"),
    Trouble("memory, stop", _little_memory, (), 1, "4 sequences of 16 tokens per pass do not fit on cpu; 2 do"),
    Trouble("memory, auto", _little_memory, ("--auto-batch",), 0, "step {step}: memory ran out; going on with 2"),
)


def run(count: int, seed: int) -> dict[str, Any]:
    source = random.Random(seed)
    failures: list[str] = []
    tried: Counter[str] = Counter()
    with workplace() as folder:
        place, log, kept = folder / "troubled", folder / "log", folder / "kept-data"
        shutil.copytree(DATA, kept)
        out = place / "out"
        place.mkdir()
        words = [word for word in words_of("train", out, *SETTINGS) if word != "-q"]
        if run_words(words, log).code:
            raise RuntimeError(log.read_text())
        expected = content_of(out)
        for number in range(count):
            trouble = TROUBLES[number % len(TROUBLES)]
            step = source.randint(2, STEPS - 2)
            shutil.rmtree(place)
            place.mkdir()
            ended = run_child(partial(_troubled, [*words, *trouble.options], trouble, step), log)
            case = f"case {number}: {trouble.name} at step {step}"
            tried[trouble.name] += 1
            if ended.code != trouble.code or trouble.says.format(step=step) not in ended.text:
                failures.append(f"{case}: {ended.code}, {ended.text[-400:]}")
            shutil.copytree(kept, DATA, dirs_exist_ok=True)
            if ended.code == 0:
                failures += _check_skips(case, trouble, out)
                continue
            again = run_words(words, log)
            if again.code or content_of(out) != expected:
                failures.append(f"{case}: the same command again: {again.code}, {again.text[-300:]}")
        failures += _damaged_before(words, out, log, kept)
    return {"cases": dict(tried), "failures": failures}


def _troubled(words: list[str], trouble: Trouble, step: int) -> int:
    class Troubled(GuardedTrainer):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            self.loss_of = trouble.wrap(self, self.loss_of, step)

    with mock.patch.object(training_start, "GuardedTrainer", Troubled):
        return main(words)


def _check_skips(case: str, trouble: Trouble, out: Path) -> list[str]:
    metrics = open_artifact(out).manifest.metrics
    skipped = 1 if "skip" in trouble.name else None
    wrong = metrics.get("skipped_steps") != skipped or not math.isfinite(metrics["val_bpb"])
    return [f"{case}: {metrics.get('skipped_steps')} steps are said to be skipped"] if wrong else []


def _damaged_before(words: list[str], out: Path, log: Path, kept: Path) -> list[str]:
    """One bit of a shard in the middle differs before training starts: refused, or skipped and told."""
    failures = []
    shard = sorted(DATA.glob("train_*.bin"))[1]
    content = bytearray(shard.read_bytes())
    content[2000] ^= 1
    for option, code in (("stop", 3), ("skip", 0)):
        shutil.rmtree(out.parent)
        out.parent.mkdir()
        shard.write_bytes(content)
        ended = run_words([*words, "--set", f"train.on_bad_shard={option}"], log)
        told = code == 3 or open_artifact(out).manifest.metrics.get("skipped_shards") == [shard.name]
        if ended.code != code or str(shard.name) not in ended.text or not told:
            failures.append(f"altered shard, {option}: {ended.code}, {ended.text[-300:]}")
    shutil.copytree(kept, DATA, dirs_exist_ok=True)
    return failures
