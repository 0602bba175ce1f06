"""A trainer for long runs, in which batches may be bad, data may become unreadable, and memory may be too small.

The generated script trains without it, since it keeps no checkpoint to go back to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from golfpipe.errors import GolfpipeError, StageFailed
from golfpipe.training.bad_steps import MAX_BAD_STEPS, LossWatch
from golfpipe.training.loop import FinishedStep
from golfpipe.training.trainer import StepRecord, Trainer, even_passes


@dataclass(frozen=True, slots=True)
class StepMark:
    """What is known of a step in addition to its record."""

    record: StepRecord
    position: tuple[int, int]
    """The shard and the offset at which its batch starts."""
    fault: str | None
    """Why it was skipped; None if it was not."""


class GuardedTrainer(Trainer):
    """A Trainer whose failed steps leave weights and data position as they were before."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.watch = LossWatch(self.config.spike_nats)
        self.unjudged: list[StepMark] = []
        self._fault: str | None = None

    def step(self) -> StepRecord:
        """Run Trainer.step. Raises DataError where the tokens cannot be read, StageFailed where the memory holds fewer
        sequences per pass than planned and train.auto_batch is off."""
        position, self._fault = self.stream.position, None
        try:
            record = super().step()
        except GolfpipeError:
            self.stream.position = position
            raise
        self.unjudged.append(StepMark(record, position, self._fault))
        return record

    # ---- bad steps --------------------------------------------------------------------------------------------

    def judge(self, steps: Sequence[FinishedStep]) -> list[str | None]:
        """Return, for each of the steps not judged before, why it was skipped; None where it was not.

        Raises StageFailed naming step and data where train.on_bad_step is stop, or too many steps in a row were bad.
        """
        skips = self.config.on_bad_step == "skip"
        marks, self.unjudged = self.unjudged[: len(steps)], self.unjudged[len(steps) :]
        faults = []
        for step, mark in zip(steps, marks, strict=True):
            if not skips:
                self._forgive_loops(step.step - 1)
            fault = mark.fault if skips else self.watch.fault(step.train_loss_nats)
            if fault is not None and (not skips or self.watch.bad_in_a_row > MAX_BAD_STEPS):
                shard, offset = mark.position
                before = f", after {MAX_BAD_STEPS} bad ones before it" if skips else ""
                raise StageFailed(
                    f"training diverged: {fault} in step {step.step}{before}; its batch starts at token {offset} of"
                    f" train shard {shard}",
                    hint="the last checkpoint is kept; train.on_bad_step=skip goes on without such batches, lower"
                    " optim.*_lr need a new run",
                )
            faults.append(fault)
        return faults

    def _update_weights(self, loss: Tensor) -> None:
        if self.config.on_bad_step == "skip":
            gradients = [p.grad for p in self.network.parameters() if p.grad is not None]
            norm = torch.nn.utils.get_total_norm(gradients, foreach=True)
            self._forgive_loops(self.steps_done)
            self._fault = self.watch.fault(loss.item(), norm.item())
        if self._fault is None:
            super()._update_weights(loss)
        else:
            self._forget_gradients()

    def _forgive_loops(self, steps_before: int) -> None:
        """Forget the mean of the losses where the layers begin to loop, for the loss jumps there."""
        if self.network.config.loop != "none" and steps_before == self.loop_first_step:
            self.watch.mean = None

    # ---- memory -----------------------------------------------------------------------------------------------

    def _accumulate_gradients(self) -> Tensor:
        """Compute the step's gradients with as many sequences per pass as planned, or the most that fit."""
        start, planned, length = self.stream.position, self.micro_batch, self.length
        while (loss := self._gradients_or_none()) is None:
            self.stream.position = start
            if self.micro_batch == 1:
                self.micro_batch = planned
                raise StageFailed(
                    f"out of memory: not even one sequence of {length} tokens fits on {self.device}",
                    hint="lower train.context_length, or take a smaller model or another --device",
                )
            self.micro_batch = even_passes(self.sequences, self.micro_batch - 1)
        if self.micro_batch < planned and not self.config.auto_batch:
            fitting, self.micro_batch = self.micro_batch, planned
            self._forget_gradients()
            raise StageFailed(
                f"out of memory: {planned} sequences of {length} tokens per pass do not fit on {self.device};"
                f" {fitting} do",
                hint=f"the same command with --auto-batch goes on with {fitting} per pass",
            )
        if self.micro_batch < planned:
            self.pass_tokens = self.micro_batch * length
        return loss

    def _gradients_or_none(self) -> Tensor | None:
        """Return the loss; None where the memory ran out."""
        try:
            return super()._accumulate_gradients()
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        # Only here, after the except block, are the error and the tensors that it held gone.
        self._forget_gradients()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        return None

    def _forget_gradients(self) -> None:
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)

    # ---- checkpoint -------------------------------------------------------------------------------------------

    def state_values(self) -> dict[str, int | float | list[int] | None]:
        return super().state_values() | {"pass_tokens": self.pass_tokens, "mean_loss": self.watch.mean}

    def load_state(self, tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
        # Take no more than is known to fit: what the compile warm-up learned outlives the state from before it. A
        # checkpoint of an older golfpipe has neither.
        self.pass_tokens = min(self.pass_tokens, values.get("pass_tokens", self.pass_tokens))
        super().load_state(tensors, values)
        self.watch.mean = values.get("mean_loss")

    def warm_up(self, steps: int) -> None:
        """Run Trainer.warm_up; its steps are not judged."""
        super().warm_up(steps)
        self.unjudged.clear()


def is_out_of_memory(error: RuntimeError | MemoryError) -> bool:
    """Return True if a device, or the host, had no more memory. torch has no one error class for it."""
    known = isinstance(error, torch.OutOfMemoryError | MemoryError)
    return known or "out of memory" in str(error) or "can't allocate memory" in str(error)
