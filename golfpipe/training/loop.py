"""The order of events in a run: steps, log lines, validations, checkpoints. The caller supplies what they do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from golfpipe.training.trainer import StepRecord, Trainer


@dataclass(frozen=True, slots=True)
class FinishedStep:
    """A step whose loss is known on the host."""

    step: int
    train_loss_nats: float
    lr_factor: float
    elapsed_seconds: float


class TrainingEvents(Protocol):
    """What a run calls as it goes on. The training clock stands still meanwhile."""

    def log(self, steps: list[FinishedStep]) -> None:
        """Take the steps since the last call, in order. May raise for a bad one, which leaves no checkpoint."""

    def validate(self, step: int) -> None:
        """Score the averaged weights."""

    def checkpoint(self, step: int) -> None:
        """Save the state, whose values are finite."""

    def stop_requested(self) -> bool:
        """Return True if the run is to end after this step, with a checkpoint."""


def run_training(trainer: Trainer, events: TrainingEvents) -> str:
    """Train to the end. Return `max_steps`, `max_seconds`, or `interrupted`, for which a checkpoint is written.

    Raises what `log` raises for a bad step.
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
            events.log(finish_steps(pending))
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
        events.log(finish_steps(pending))
    return reason


def _is_due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0


def finish_steps(pending: list[StepRecord]) -> list[FinishedStep]:
    """Return the steps with their losses on the host, which waits for the device."""
    return [
        FinishedStep(record.step, record.loss.item(), record.lr_factor, record.elapsed_seconds) for record in pending
    ]
