"""Length, batches, schedule, averaging and quantization-aware training as settings (docs/stages/train.md)."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Literal

from golfpipe.errors import ConfigError
from golfpipe.quant.config import MLP_ONLY, QuantPolicy

Precision = Literal["fp32", "bf16", "auto"]
OnBad = Literal["stop", "skip"]


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainConfig:
    """Settings of the train stage."""

    max_steps: int = 20_000
    """The number of optimizer steps, where max_seconds does not end training before."""
    max_seconds: float = 0.0
    """The cap on training time alone, without compile warm-up and validation; 0 means none."""
    batch_tokens: int = 786_432
    """Tokens per optimizer step, over all processes and micro-batches."""
    context_length: int = 2048
    """Tokens per training sequence."""
    context_growth: tuple[tuple[float, int], ...] = ()
    """Lengths of the sequences before context_length, as [share, tokens]: so long until that share of training, of its
    steps or seconds as for qat_start. Tokens per step stay."""
    micro_batch_sequences: int = 0
    """Sequences of context_length per forward pass, or as many tokens of shorter ones; 0 means the whole step at once,
    up to forward_tokens."""
    forward_tokens: int = 65_536
    """The most tokens per forward pass where micro_batch_sequences is 0. The work is the same up to rounding, so this
    is not part of the key, as the device is not."""
    auto_batch: bool = False
    """True: where the device's memory does not hold a forward pass, go on with fewer sequences per pass and more
    passes. The work is the same up to rounding, so this is not part of the key, as the device is not."""
    warmdown_steps: int = 5000
    """The number of final steps in which the lr falls linearly to 0, or to lr_floor."""
    warmdown_fraction: float = 0.4
    """The longest warmdown, as a share of the expected steps."""
    lr_floor: float = 0.0
    """The share of the peak learning rate below which no warmdown goes."""
    compile_warmup_steps: int = 20
    """Steps that compile and warm caches, and are then undone. Only with torch.compile, and only one on a CPU."""
    compile: Literal["auto", "on", "off"] = "auto"
    """auto: compile on CUDA, and on a CPU with a C++ compiler where training takes more than some ten minutes."""
    precision: Precision = "fp32"
    """bf16: activations and products are bf16; weights, optimizer state and averages stay fp32. auto: bf16 where
    the device has products of it; metrics.precision says which it was."""
    ema_decay: float = 0.999
    """The decay per step of the weight average; 0 saves the last weights."""
    ema_bias_correction: bool = True
    """True: the average forgets the initial weights, with the decay min(ema_decay, (1 + t) / (10 + t))."""
    qat_start: float = 0.0
    """The share of training after which quantization-aware training starts; 0: from the start, 1: never."""
    loop_start: float = 0.0
    """The share of training after which the layers of model.loop run several times; before, each runs once."""
    qat: QuantPolicy = field(default=MLP_ONLY)
    """The quantizer of the forward pass. Classes with 16 or 32 bits are left as they are."""
    qat_refresh_steps: int = 100
    """Steps between two searches for the clip ratios of fake quantization."""
    rate_penalty: float = 0.0
    """The nats that one bit per weight of matrices and n-gram tables adds to the loss. It makes codes shorter and costs
    some loss before quantization. Logged losses do not include it."""
    validate_every: int = 1000
    """Steps between validations; 0 validates at the end only."""
    validation_targets: int = 1 << 20
    """The most validation targets scored each time; 0 means all."""
    log_every: int = 50
    """Steps between two lines of progress; log.jsonl has every step."""
    checkpoint_every: int = 1000
    """Steps between resumable checkpoints; 0 writes one only where the run stops."""
    track: Literal["none", "tensorboard", "trackio", "wandb"] = "none"
    """An experiment tracker that also receives what log.jsonl does."""
    on_bad_step: OnBad = "stop"
    """What to do about a step whose loss or gradients are not finite, or whose loss is a spike. skip: leave the weights
    as they are and go on with the next batch. Checking for it makes every step wait for the device."""
    spike_nats: float = 0.0
    """How far above the running mean of the losses before a loss must lie to be a spike; 0 means that none is."""
    on_bad_shard: OnBad = "stop"
    """What to do about a missing or altered train shard when training starts or resumes. skip: go without it."""

    @property
    def context_lengths(self) -> tuple[int, ...]:
        """The lengths of training sequences, one after the other."""
        return (*(length for _, length in self.context_growth), self.context_length)

    def __post_init__(self) -> None:
        for key in ("max_steps", "context_length", "forward_tokens", "log_every", "qat_refresh_steps"):
            if getattr(self, key) < 1:
                raise ConfigError(f"train.{key}={getattr(self, key)} must be at least 1")
        for key in (
            "max_seconds",
            "micro_batch_sequences",
            "warmdown_steps",
            "compile_warmup_steps",
            "validate_every",
            "validation_targets",
            "checkpoint_every",
            "spike_nats",
            "rate_penalty",
        ):
            if not getattr(self, key) >= 0:
                raise ConfigError(f"train.{key}={getattr(self, key)} must not be negative")
        if self.batch_tokens < 1 or self.batch_tokens % self.context_length:
            raise ConfigError(
                f"train.batch_tokens={self.batch_tokens} must be a multiple of context_length ({self.context_length})"
            )
        shares = [0.0, *(share for share, _ in self.context_growth), 1.0]
        if any(left >= right for left, right in itertools.pairwise(shares)):
            raise ConfigError(f"train.context_growth={shares[1:-1]} must be shares that rise between 0 and 1")
        for length in self.context_lengths:
            if length < 1 or self.batch_tokens % length:
                raise ConfigError(f"train.context_growth={length} must be a length that divides {self.batch_tokens}")
        for key in ("warmdown_fraction", "lr_floor", "qat_start"):
            if not 0 <= getattr(self, key) <= 1:
                raise ConfigError(f"train.{key}={getattr(self, key)} must lie in 0..1")
        for key in ("ema_decay", "loop_start"):
            if not 0 <= getattr(self, key) < 1:
                raise ConfigError(f"train.{key}={getattr(self, key)} must lie in [0, 1)")

    def mean_step(self, single: float, looping: float) -> float:
        """Return the mean over training of what a step costs, given that of steps before and after train.loop_start."""
        if self.max_seconds > 0:  # a share of the seconds, in which the cheaper steps are more
            return looping / (self.loop_start * looping / single + 1 - self.loop_start)
        return self.loop_start * single + (1 - self.loop_start) * looping
