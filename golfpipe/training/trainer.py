"""One training run as an object: weights, optimizers, average, schedule, data position. `step` does one update.

The network does not know about quantization. In quantization-aware training the parameters hold fake-quantized values
during forward and backward; the gradients then go to the unquantized ("latent") weights as they are (straight through).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from golfpipe.errors import ConfigError
from golfpipe.model.config import possible_names
from golfpipe.model.network import Network
from golfpipe.optim.config import OptimConfig
from golfpipe.optim.ema import WeightAverage
from golfpipe.optim.groups import build_optimizers, set_lr_factor, set_momentum
from golfpipe.optim.process_group import ALONE, ProcessGroup
from golfpipe.optim.schedule import muon_momentum, rewarm_factor, step_factor, time_factor
from golfpipe.optim.state import load_optimizer_tensors, optimizer_tensors
from golfpipe.quant.config import MATRIX_CLASSES
from golfpipe.quant.fake import FakeQuantizer
from golfpipe.quant.policy import assign_classes
from golfpipe.quant.rate_penalty import add_rate_gradient
from golfpipe.training.config import TrainConfig
from golfpipe.training.replay import Replay
from golfpipe.training.token_stream import TokenStream

UNTIMED_STEPS = 10
"""The number of first steps that the mean step time leaves out, because they allocate memory and warm caches."""


@dataclass(frozen=True, slots=True)
class StepRecord:
    """The record of a finished step. `loss` stays on the device until somebody reads it."""

    step: int
    loss: Tensor
    lr_factor: float
    elapsed_seconds: float


class Trainer:
    """The state of a run and the step that advances it. All times are training time alone, in seconds."""

    def __init__(
        self,
        network: Network,
        stream: TokenStream,
        config: TrainConfig,
        optim: OptimConfig,
        device: torch.device,
        compiled: bool = False,
        replay: Replay | None = None,
        processes: ProcessGroup = ALONE,
    ) -> None:
        """Build optimizers, average and fake quantizer. `replay` repeats what the clock decided in an earlier run,
        instead of this configuration's schedule.

        `processes` share each step's sequences. Raises ConfigError where they cannot share them evenly, and where
        train.rate_penalty would have no weights to price.
        """
        self.network, self.stream, self.config, self.optim, self.device = network, stream, config, optim, device
        self.processes = processes
        self.replay = replay
        self.max_steps = len(replay.lr_factors) if replay is not None else config.max_steps
        self.max_seconds = config.max_seconds if replay is None else 0.0
        muon_dtype = torch.bfloat16 if config.precision == "bf16" else next(network.parameters()).dtype
        self.optimizers = build_optimizers(network, optim, muon_dtype, processes)
        self.average = WeightAverage(network, config.ema_decay, config.ema_bias_correction)
        self.loss_of = torch.compile(network, dynamic=False) if compiled else network
        shapes = {name: tuple(parameter.shape) for name, parameter in network.named_parameters()}
        self.fake = FakeQuantizer(config.qat, shapes, possible_names(network.config))
        self.qat_first_step: int | None = None
        self.loop_first_step: int | None = None
        """The number of steps finished when the looped layers began to run several times."""
        classes = assign_classes(config.qat, shapes, None)
        self.priced = [p for name, p in network.named_parameters() if classes[name] in MATRIX_CLASSES]
        if config.rate_penalty > 0 and not self.priced:
            raise ConfigError(
                "train.rate_penalty has nothing to price: train.qat.rules leave mlp, attention and ngram empty"
            )
        sequences_of_each(config, processes)  # which refuses what cannot be shared
        self.pass_tokens = tokens_per_pass(config)
        self.context_first_steps: list[int] = []
        self._cut_step()
        self.steps_done = 0
        self.warmdown_start_step: int | None = None
        self._elapsed = self._clock = 0.0
        self._running_since: float | None = None
        self._timed_from: float | None = None

    # ---- clock ------------------------------------------------------------------------------------------------

    @property
    def elapsed_seconds(self) -> float:
        running = time.perf_counter() - self._running_since if self._running_since is not None else 0.0
        return self._elapsed + running

    def start_clock(self) -> None:
        self._running_since = time.perf_counter()

    def stop_clock(self) -> None:
        """Stop the clock after all queued device work, so that none of it counts as what follows."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        self._elapsed = self.elapsed_seconds
        self._running_since = None

    @property
    def mean_step_seconds(self) -> float | None:
        """The mean seconds of a step, without the first UNTIMED_STEPS of the run; None before there are others."""
        timed = self.steps_done - UNTIMED_STEPS
        if self._timed_from is None or timed <= 0:
            return None
        return (self._clock - self._timed_from) / timed

    def _read_clock(self) -> None:
        """Read the clock once a step. All processes decide by the clock of the first, so that they decide alike."""
        self._clock = self.processes.first(self.elapsed_seconds) if self.max_seconds > 0 else self.elapsed_seconds

    # ---- schedule ---------------------------------------------------------------------------------------------

    def lr_factor(self) -> float:
        """Return the factor of the coming step: the smaller of step and time form where both caps are set."""
        if self.replay is not None:
            return self.replay.lr_factors[self.steps_done]
        step_seconds = self.mean_step_seconds
        capped = self.max_seconds > 0
        expected = self.max_steps
        if capped and step_seconds:
            expected = min(expected, max(1, round(self.max_seconds / step_seconds)))
        warmdown = min(self.config.warmdown_steps, round(self.config.warmdown_fraction * expected))
        factor = step_factor(self.steps_done, self.max_steps, warmdown)
        if capped and step_seconds:
            factor = min(factor, time_factor(self._clock, self.max_seconds, warmdown, step_seconds))
        return max(factor, self.config.lr_floor) * self._rewarm_factor()

    def _rewarm_factor(self) -> float:
        return rewarm_factor(self.steps_done - self.context_first_steps[-1]) if self.context_first_steps else 1.0

    def _share_done(self) -> float:
        """Return the share of training that is over: of its steps or, where that is more, of its seconds."""
        share = self.steps_done / self.max_steps
        return max(share, self._clock / self.max_seconds) if self.max_seconds > 0 else share

    def stop_reason(self) -> str | None:
        """Return `max_steps` or `max_seconds` once the run is over, else None."""
        if self.steps_done >= self.max_steps:
            return "max_steps"
        self._read_clock()
        return "max_seconds" if 0 < self.max_seconds <= self._clock else None

    def _quantization_is_on(self) -> bool:
        """Return True if the coming step trains through the fake quantizer, by share of steps or seconds."""
        if not self.fake.names or self.config.qat_start >= 1:
            return False
        if self.qat_first_step is None and self._quantization_is_due():
            self.qat_first_step = self.steps_done
        return self.qat_first_step is not None

    def _quantization_is_due(self) -> bool:
        if self.replay is not None:
            return self.steps_done == self.replay.qat_first_step
        return self._share_done() >= self.config.qat_start

    def looping(self) -> bool:
        """Return True if the coming step runs the looped layers several times, by share of steps or seconds."""
        if self.loop_first_step is None and self._loop_is_due():
            self.loop_first_step = self.steps_done
        return self.loop_first_step is not None

    def _loop_is_due(self) -> bool:
        if self.replay is not None and self.replay.loop_first_step is not None:
            return self.steps_done == self.replay.loop_first_step
        return self.network.config.loop == "none" or self._share_done() >= self.config.loop_start

    def _grow_context(self) -> None:
        """Take the length of sequences that the coming step is due."""
        while (grown := len(self.context_first_steps)) < len(self.config.context_growth) and self._growth_is_due(grown):
            self.context_first_steps.append(self.steps_done)
            self._cut_step()

    def _growth_is_due(self, grown: int) -> bool:
        if self.replay is not None:
            return self.steps_done in self.replay.context_first_steps[grown : grown + 1]
        return self._share_done() >= self.config.context_growth[grown][0]

    def _cut_step(self) -> None:
        """Cut a step's tokens into sequences of the length that it is time for, and those into passes."""
        self.length = self.config.context_lengths[len(self.context_first_steps)]
        self.sequences = self.config.batch_tokens // self.length // self.processes.size
        self.micro_batch = even_passes(self.sequences, self.pass_tokens // self.length)

    # ---- one step ---------------------------------------------------------------------------------------------

    def step(self) -> StepRecord:
        """Do one optimizer step over train.batch_tokens tokens."""
        self._read_clock()
        if self._timed_from is None and self.steps_done >= UNTIMED_STEPS:
            self._timed_from = self._clock
        self._grow_context()
        factor = self.lr_factor()
        if factor < self._rewarm_factor() and self.warmdown_start_step is None:
            self.warmdown_start_step = self.steps_done
        set_lr_factor(self.optimizers, factor)
        set_momentum(self.optimizers, muon_momentum(self.steps_done, self.optim))
        with self._forward_weights():
            loss = self._accumulate_gradients()
        self.processes.sum_gradients(self.network.parameters(), loss)
        self._update_weights(loss)
        self.steps_done += 1
        return StepRecord(self.steps_done, loss, factor, self.elapsed_seconds)

    def _update_weights(self, loss: Tensor) -> None:
        if self.config.rate_penalty > 0:
            add_rate_gradient(self.priced, self.config.rate_penalty)
        if self.optim.grad_clip > 0:
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.optim.grad_clip, foreach=True)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self.average.update(self.network)

    def _accumulate_gradients(self) -> Tensor:
        """Compute this process's part of the step's gradient, and return its part of the loss."""
        length, own, micro = self.length, self.sequences, self.micro_batch
        # The gradients are summed over passes and processes; with this weight the sum is the mean over the step.
        weight = micro / (own * self.processes.size)
        total, looping = torch.zeros((), device=self.device), self.looping()
        self.stream.skip(self.processes.rank * own * length)
        for _ in range(own // micro):
            inputs_BT, targets_BT = self.stream.next_batch(micro, length)
            loss = self.loss_of(self._to_device(inputs_BT), self._to_device(targets_BT), looping)
            (loss * weight).backward()
            total = total + loss.detach() * weight
        self.stream.skip((self.processes.size - 1 - self.processes.rank) * own * length)
        return total

    def _to_device(self, tokens_BT: Tensor) -> Tensor:
        if self.device.type != "cuda":
            return tokens_BT.to(self.device)
        return tokens_BT.pin_memory().to(self.device, non_blocking=True)

    @contextmanager
    def _forward_weights(self) -> Iterator[None]:
        """If quantization is on, put fake-quantized values into the parameters inside the `with` block."""
        if not self._quantization_is_on():
            yield
            return
        assert self.qat_first_step is not None
        quantized = {name: p for name, p in self.network.named_parameters() if name in self.fake.names}
        latent = {name: parameter.data for name, parameter in quantized.items()}
        if (self.steps_done - self.qat_first_step) % self.config.qat_refresh_steps == 0:
            self.fake.refresh(latent)
        for name, parameter in quantized.items():
            parameter.data = self.fake.apply(name, latent[name])
        try:
            yield
        finally:
            for name, parameter in quantized.items():
                parameter.data = latent[name]

    @contextmanager
    def averaged_weights(self) -> Iterator[Network]:
        """Put the averaged weights, as they would be saved, into the network inside the `with` block."""
        kept = {name: parameter.data for name, parameter in self.network.named_parameters()}
        try:
            for name, parameter in self.network.named_parameters():
                parameter.data = self.average.average[name]
            yield self.network
        finally:
            for name, parameter in self.network.named_parameters():
                parameter.data = kept[name]

    # ---- checkpoint -------------------------------------------------------------------------------------------

    def state_tensors(self) -> dict[str, Tensor]:
        """Return the tensors that a resumed run needs, by name, on the run's device and not copied."""
        tensors = {f"weights/{name}": p.detach() for name, p in self.network.named_parameters()}
        tensors |= {f"average/{name}": tensor for name, tensor in self.average.state().items()}
        tensors |= {f"optimizer/{n}": t for n, t in optimizer_tensors(self.optimizers, self.network).items()}
        tensors |= {f"quantizer/{name}": tensor for name, tensor in self.fake.state().items()}
        tensors["rng"] = torch.get_rng_state()
        return tensors

    def state_values(self) -> dict[str, int | float | list[int] | None]:
        """Return the rest of the state as JSON values."""
        return {
            "steps_done": self.steps_done,
            "position": list(self.stream.position),
            "elapsed_seconds": self.elapsed_seconds,
            "timed_from": self._timed_from,
            "average_updates": self.average.num_updates,
            "qat_first_step": self.qat_first_step,
            "loop_first_step": self.loop_first_step,
            "warmdown_start_step": self.warmdown_start_step,
            "context_first_steps": self.context_first_steps,
        }

    def load_state(self, tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
        """Restore a state that `state_tensors` and `state_values` returned, so that the run goes on exactly as it would
        have."""
        parts: dict[str, dict[str, Tensor]] = {"weights": {}, "average": {}, "optimizer": {}, "quantizer": {}}
        for path, tensor in tensors.items():
            if path != "rng":
                part, name = path.split("/", 1)
                parts[part][name] = tensor
        with torch.no_grad():
            for name, parameter in self.network.named_parameters():
                parameter.copy_(parts["weights"][name])
        self.average.load_state(parts["average"], values["average_updates"])
        load_optimizer_tensors(self.optimizers, self.network, parts["optimizer"])
        self.fake.load_state(parts["quantizer"])
        torch.set_rng_state(tensors["rng"].cpu())
        self.stream.position = tuple(values["position"])
        self.steps_done = values["steps_done"]
        self.qat_first_step = values["qat_first_step"]
        self.loop_first_step = values.get("loop_first_step")  # a checkpoint of an older golfpipe has none
        self.warmdown_start_step = values["warmdown_start_step"]
        self.context_first_steps = list(values.get("context_first_steps", []))  # an older golfpipe had none
        self._cut_step()
        self._elapsed, self._timed_from = values["elapsed_seconds"], values["timed_from"]

    def warm_up(self, steps: int) -> None:
        """Run `steps` steps to compile and warm caches, in each form that is still to come: longer sequences, looping
        layers. Then restore weights, optimizer state and data position."""
        tensors = {name: tensor.clone() for name, tensor in self.state_tensors().items()}
        known, changes = list(self.context_first_steps), []
        if not self.looping():
            changes.append((self.config.loop_start, "loop"))
        changes += [(share, "growth") for share, _ in self.config.context_growth[len(known) :]]
        values, order = self.state_values(), [change for _, change in sorted(changes)]
        for later in range(len(order) + 1):
            self.context_first_steps = known + [self.steps_done] * order[:later].count("growth")
            if "loop" in order[:later]:
                self.loop_first_step = self.steps_done
            self._cut_step()
            for _ in range(min(steps, self.max_steps)):
                self.step()
            self.load_state(tensors, values)


def sequences_of_each(config: TrainConfig, processes: ProcessGroup) -> int:
    """Return each process's sequences of context_length in a step. Raises ConfigError where those of any length cannot
    be shared evenly."""
    for length in config.context_lengths:
        sequences = config.batch_tokens // length
        if sequences % processes.size:
            raise ConfigError(
                f"train.batch_tokens={config.batch_tokens} are {sequences} sequences of {length} tokens,"
                f" which {processes.size} processes cannot share evenly",
                hint=f"a multiple of {processes.size * length} tokens, or another number of processes",
            )
    return sequences // processes.size


def tokens_per_pass(config: TrainConfig) -> int:
    """Return the most tokens of a process per forward pass."""
    return config.micro_batch_sequences * config.context_length or config.forward_tokens


def even_passes(sequences: int, most: int) -> int:
    """Return the largest divisor of `sequences` that is at most `most`, or 1. With a divisor every pass has one shape
    and compiles once."""
    return max(divisor for divisor in range(1, max(1, min(most, sequences)) + 1) if sequences % divisor == 0)
