"""The two logs of a training: log.jsonl for programs, which a tracker also receives, and train.log for people.

Of many processes the first one writes them; the others keep the same counts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from golfpipe.config.schema import PipelineConfig, plain_config
from golfpipe.errors import ArtifactError
from golfpipe.loading.replay_log import LOG
from golfpipe.loading.warning_signs import Validation, rise
from golfpipe.machine.fast_paths import FastPath
from golfpipe.model.config import parameter_count
from golfpipe.reporter import Reporter
from golfpipe.scoring.score import Score
from golfpipe.stages.trackers import Record
from golfpipe.store.artifact_writer import ArtifactWriter
from golfpipe.store.canonical import canonical_json
from golfpipe.store.files import sync_file
from golfpipe.training.guarded import GuardedTrainer
from golfpipe.training.log_lines import TRAINING_LOG, cap_line, memory_line, start_lines, train_line, validation_line
from golfpipe.training.loop import FinishedStep

_SIZES = {LOG: "log_bytes", TRAINING_LOG: "human_log_bytes"}
"""File -> the value of a checkpoint that holds the file's size at that moment."""


class TrainingLog:
    """Writes the logs, warns of what they tell that is bad, and knows the last good loss."""

    def __init__(
        self,
        out: ArtifactWriter,
        trainer: GuardedTrainer,
        reporter: Reporter,
        track: Callable[[Sequence[Record]], None],
    ) -> None:
        """Write into `out`. `track` receives every record of log.jsonl."""
        self.out, self.trainer, self.reporter, self.track = out, trainer, reporter, track
        self.pass_tokens = trainer.pass_tokens
        self.last_loss: float | None = None
        self.skipped_steps = 0
        self.best_validation: Validation | None = None

    @property
    def loss_text(self) -> str:
        return f"{self.last_loss:.4f}" if self.last_loss is not None else "unknown"

    def start(self, config: PipelineConfig, compiled: bool, paths: Sequence[FastPath]) -> None:
        """Begin new logs with what the run starts from."""
        for name in _SIZES:
            self.out.write(name, b"", content=False)
        trainer, parameters = self.trainer, parameter_count(config.model)
        self._record(
            {
                "type": "start",
                "seed": config.seed,
                "parameters": parameters,
                "device": str(trainer.device),
                "precision": trainer.config.precision,
                "compiled": compiled,
                "fast_paths": {path.name: path.on for path in paths},
                "config": plain_config(config),
            }
        )
        self._write_lines(start_lines(config.seed, parameters, config.train, trainer.max_steps))

    def resume(self, values: dict[str, Any]) -> None:
        """Go on with the logs where the checkpoint with these values was made."""
        self.last_loss, self.skipped_steps = values["last_loss"], values.get("skipped_steps", 0)
        self._record({"type": "resume", "step": self.trainer.steps_done})

    def add_steps(self, steps: list[FinishedStep]) -> None:
        """Judge and log steps. Raises StageFailed for a bad one after which training cannot go on."""
        trainer = self.trainer
        if self.pass_tokens != trainer.pass_tokens:
            self.pass_tokens = trainer.pass_tokens
            self.reporter.warn(
                f"step {steps[-1].step}: memory ran out; going on with {trainer.micro_batch} sequences per forward pass"
            )
            self._record(
                {"type": "micro_batch", "step": steps[-1].step, "micro_batch_sequences": trainer.micro_batch},
            )
        for step, fault in zip(steps, trainer.judge(steps), strict=True):
            self._record(_step_record(step, fault))
            if fault is None:
                self.last_loss = step.train_loss_nats
            else:
                self.skipped_steps += 1
                self.reporter.warn(f"step {step.step} skipped: {fault}")
        shown = [step for step in steps if step.step % trainer.config.log_every == 0 or step.step == 1]
        self._write_lines(*(train_line(s.step, trainer.max_steps, s.train_loss_nats, s.elapsed_seconds) for s in shown))

    def add_validation(self, score: Score) -> None:
        """Log a score of the averaged weights during the run."""
        step = self.trainer.steps_done
        self._record(
            {"type": "validation", "step": step, "val_loss_nats": score.val_loss_nats, "val_bpb": score.val_bpb}
        )
        self._write_lines(self._validation_line(score))
        self._judge_validation(score)
        self.reporter.note(
            f"step {step}: train loss {self.loss_text}, val loss {score.val_loss_nats:.4f}, val bpb {score.val_bpb:.4f}"
        )

    def _judge_validation(self, score: Score) -> None:
        """Warn where the loss on the validation split rises, and remember the best one."""
        last = Validation(self.trainer.steps_done, score.val_loss_nats)
        best = self.best_validation or last
        if rise([best, last]) is not None:
            self.reporter.warn(
                f"step {last.step}: validation loss {last.loss_nats:.4f} is above the {best.loss_nats:.4f} of step"
                f" {best.step}: the model learns its training text by heart, or that text is of another kind; fewer"
                " steps or more text help"
            )
        self.best_validation = min(best, last, key=lambda found: found.loss_nats)

    def end(self, score: Score, metrics: dict[str, Any]) -> None:
        """Log the final score and the metrics of the trained model."""
        self._judge_validation(score)
        trainer, memory = self.trainer, metrics["peak_memory_bytes"]
        lines = [self._validation_line(score)]
        if metrics["stop_reason"] == "max_seconds":
            lines.insert(0, cap_line(trainer.steps_done, trainer.max_steps, trainer.elapsed_seconds))
        if memory is not None:
            lines.append(memory_line(memory))
        self._write_lines(*lines)
        self._record({"type": "end", **metrics})

    def state_values(self) -> dict[str, Any]:
        """Return what a checkpoint holds of the logs, after syncing them to the disk."""
        sizes = {}
        for name, key in _SIZES.items():
            path = self.out.path(name, content=False)
            sync_file(path)
            sizes[key] = path.stat().st_size
        return {"last_loss": self.last_loss, "skipped_steps": self.skipped_steps, **sizes}

    def _validation_line(self, score: Score) -> str:
        trainer = self.trainer
        return validation_line(
            trainer.steps_done, trainer.max_steps, score.val_loss_nats, score.val_bpb, trainer.elapsed_seconds
        )

    def _record(self, record: dict[str, Any]) -> None:
        self._append(LOG, [canonical_json(record)])
        self.track([record])

    def _write_lines(self, *lines: str) -> None:
        self._append(TRAINING_LOG, lines)

    def _append(self, name: str, lines: Sequence[str]) -> None:
        self.out.append(name, "".join(f"{line}\n" for line in lines).encode())


def cut_logs_back(out: ArtifactWriter, values: dict[str, Any], hint: str) -> None:
    """Cut both logs in the folder of `out` to the sizes that a checkpoint names. Raises ArtifactError for a shorter
    one.

    Each becomes a new file: a process that lost this folder may still have the old one open, and write to it.
    """
    sizes = {name: values.get(key) for name, key in _SIZES.items()}
    kept = {}
    for name, size in sizes.items():
        log = out.folder / name
        content = log.read_bytes() if log.is_file() else None
        found = len(content) if content is not None else None
        if type(size) is not int or size < 0 or content is None or len(content) < size:
            raise ArtifactError(f"{log}: {found} bytes, the checkpoint was made when it had {size}", hint=hint)
        kept[name] = content[:size]
    for name, content in kept.items():
        out.write(name, content, content=False)


def _step_record(step: FinishedStep, fault: str | None) -> dict[str, Any]:
    """Return a step's line of log.jsonl: JSON has no NaN, and only a bad step has a fault."""
    finite = math.isfinite(step.train_loss_nats)
    record = {"type": "step", **asdict(step), "train_loss_nats": step.train_loss_nats if finite else None}
    return record if fault is None else record | {"fault": fault}
