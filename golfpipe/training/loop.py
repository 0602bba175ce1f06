"""The order of things in a run: steps, log lines, validations, checkpoints. What they do is the caller's business."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from golfpipe.errors import GolfpipeError, StageFailed
from golfpipe.training.bad_steps import MAX_BAD_STEPS
from golfpipe.training.trainer import StepRecord, Trainer


@dataclass(frozen=True, slots=True)
class FinishedStep:
    """A step whose loss is known on the host."""

    step: int
    train_loss_nats: float
    lr_factor: float
    elapsed_seconds: float
    fault: str | None
    """Why the step was skipped: the weights are those before it."""


class TrainingEvents(Protocol):
    """What a run asks of its surroundings. The training clock stands still meanwhile."""

    def log(self, steps: list[FinishedStep]) -> None:
        """Steps since the last call, in order, none lost."""

    def validate(self, step: int) -> None:
        """Score the averaged weights."""

    def checkpoint(self, step: int) -> None:
        """Save the state; it is finite."""

    def stop_requested(self) -> bool:
        """Whether to end after this step, leaving a checkpoint."""


def run_training(trainer: Trainer, events: TrainingEvents) -> str:
    """Train to the end. Returns `max_steps`, `max_seconds`, or `interrupted` (a checkpoint is then written).

    Raises StageFailed naming the step that was bad, where train.on_bad_step is stop or too many in a row were; the
    last checkpoint is from before it. Where a step could not be made at all, for unreadable data or too little memory,
    a checkpoint of the one before is written and the error raised.
    """
    config = trainer.config
    pending: list[StepRecord] = []
    trainer.start_clock()
    while (reason := trainer.stop_reason()) is None:
        try:
            pending.append(trainer.step())
        except GolfpipeError:
            trainer.stop_clock()
            if pending:
                events.log(_finish_steps(pending, trainer))
            if trainer.steps_done > 0:
                events.checkpoint(trainer.steps_done)
            raise
        step = trainer.steps_done
        stop = events.stop_requested()
        due_validation = _is_due(step, config.validate_every) and step < trainer.max_steps
        due_checkpoint = _is_due(step, config.checkpoint_every) or stop
        on_host = trainer.device.type == "cpu"
        if on_host or due_validation or due_checkpoint or len(pending) >= config.log_every:
            trainer.stop_clock()
            events.log(_finish_steps(pending, trainer))
            pending = []
            if due_validation:
                events.validate(step)
            if due_checkpoint:
                events.checkpoint(step)
            trainer.start_clock()
        if stop:
            trainer.stop_clock()
            return "interrupted"
    trainer.stop_clock()
    if pending:
        events.log(_finish_steps(pending, trainer))
    return reason


def _is_due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0


def _finish_steps(pending: list[StepRecord], trainer: Trainer) -> list[FinishedStep]:
    skips = trainer.config.on_bad_step == "skip"
    finished = []
    for record in pending:
        loss = record.loss.item()
        fault = record.fault if skips else trainer.watch.fault(loss)
        if fault is not None and (not skips or trainer.watch.bad_in_a_row > MAX_BAD_STEPS):
            shard, offset = record.position
            before = f", after {MAX_BAD_STEPS} bad ones before it" if skips else ""
            raise StageFailed(
                f"training diverged: {fault} in step {record.step}{before}; its batch starts at token {offset}"
                f" of train shard {shard}",
                hint="the last checkpoint is kept; train.on_bad_step=skip goes on without such batches; or start with lower"
                " learning rates (optim.*_lr) and --force",
            )
        finished.append(FinishedStep(record.step, loss, record.lr_factor, record.elapsed_seconds, fault))
    return finished
