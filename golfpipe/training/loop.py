"""The order of things in a run: steps, log lines, validations, checkpoints. What they do is the caller's business."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from golfpipe.errors import StageFailed
from golfpipe.training.trainer import StepRecord, Trainer, first_non_finite


@dataclass(frozen=True, slots=True)
class FinishedStep:
    """A step whose loss is known on the host."""

    step: int
    train_loss_nats: float
    lr_factor: float
    elapsed_seconds: float


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

    Raises StageFailed naming the step where the loss is no longer finite; the last checkpoint is from before it.
    """
    config = trainer.config
    pending: list[StepRecord] = []
    trainer.start_clock()
    while (reason := trainer.stop_reason()) is None:
        pending.append(trainer.step())
        step = trainer.steps_done
        stop = events.stop_requested()
        due_validation = _is_due(step, config.validate_every) and step < trainer.max_steps
        due_checkpoint = _is_due(step, config.checkpoint_every) or stop
        on_host = trainer.device.type == "cpu"
        if on_host or due_validation or due_checkpoint or len(pending) >= config.log_every:
            trainer.stop_clock()
            events.log(_finish_steps(pending))
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
        events.log(_finish_steps(pending))
    return reason


def _is_due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0


def _finish_steps(pending: list[StepRecord]) -> list[FinishedStep]:
    losses = [record.loss.item() for record in pending]
    bad = first_non_finite(losses)
    if bad is not None:
        raise StageFailed(
            f"training diverged: the loss of step {pending[bad].step} is {losses[bad]}",
            hint="lower optim.matrix_lr, optim.embed_lr and optim.scalar_lr, or raise train.warmdown_fraction",
        )
    return [
        FinishedStep(record.step, loss, record.lr_factor, record.elapsed_seconds)
        for record, loss in zip(pending, losses, strict=True)
    ]
