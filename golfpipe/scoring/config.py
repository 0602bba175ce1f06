"""Settings of the windows in which a text is scored (docs/stages/evaluate.md)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from golfpipe.errors import ConfigError


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluateConfig:
    """Settings of the evaluate stage. Score-first test-time training scores in the same windows."""

    method: Literal["sliding", "chunked"] = "sliding"
    """sliding: windows advance by `stride`; chunked: disjoint windows of context_length."""
    context_length: int = 2048
    """The number of tokens that the model sees per window."""
    stride: int = 32
    """The number of newly scored tokens per window. A smaller one is slower and gives more context."""
    max_targets: int = 0
    """The number of targets to score, from the first one on; 0 means the whole split."""
    batch_tokens: int = 0
    """Tokens per forward pass. 0 means 16,384, or 4,096 on a CPU, so that its cache holds the activations."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """The precision of activations and products; bf16 is faster on GPUs and moves scores a little."""
    compile: Literal["auto", "on", "off"] = "auto"
    """auto: compile work of more than a few minutes, on a CPU only with a C++ compiler. It takes up to a minute."""

    def __post_init__(self) -> None:
        if self.context_length < 1:
            raise ConfigError(f"evaluate.context_length={self.context_length} must be at least 1")
        if not 1 <= self.stride <= self.context_length:
            raise ConfigError(f"evaluate.stride={self.stride} must lie in 1..context_length ({self.context_length})")
        if self.max_targets < 0:
            raise ConfigError(f"evaluate.max_targets={self.max_targets} must not be negative")
        if self.batch_tokens < 0:
            raise ConfigError(f"evaluate.batch_tokens={self.batch_tokens} must not be negative")

    def pass_tokens(self, device_type: str) -> int:
        """Return the tokens per forward pass on a device of this type."""
        return self.batch_tokens or (4_096 if device_type == "cpu" else 16_384)

    @property
    def targets_of_several_windows(self) -> int:
        """A short length of text at which the windows of the method have begun to follow each other."""
        return self.context_length + (4 * self.stride if self.method == "sliding" else self.context_length // 2)

    def targets_of_same_windows(self, num_targets: int) -> int:
        """Return how many first targets of a text lie in the same windows whatever follows its first `num_targets`."""
        if self.method == "chunked":
            return num_targets // self.context_length * self.context_length
        return max(min(self.context_length, num_targets), num_targets - self.stride)
