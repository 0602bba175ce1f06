"""Which weights get how many bits, and how codes are chosen."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Annotated, Literal, get_args

from golfpipe.errors import ConfigError
from golfpipe.quant.quantizers import QUANTIZERS

TensorClass = Literal["mlp", "attention", "ngram", "token_table", "small"]

MATRIX_CLASSES: tuple[TensorClass, ...] = ("mlp", "attention", "ngram")
"""Those that quantize.target_bits counts."""

CLIP_GRIDS: dict[str, tuple[float, ...]] = {
    # PR 951. Nearly every int4 row of trained weights picks its lower edge, hence `wide`.
    "pr951": (0.80, 0.85, 0.90, 0.93, 0.95, 0.97, 0.98, 0.99, 1.00),
    "wide": tuple(round(0.30 + 0.02 * i, 2) for i in range(36)),
}

FLOAT_BITS = (16, 32)
"""Bit widths that mean fp16 and fp32 storage instead of integer codes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """Sends the tensors that it matches to a class. Rules are ordered; the first match wins."""

    match: str = "*"
    """Shell pattern over parameter names, e.g. `blocks.*.mlp.*`."""
    max_values: int = 0
    """Matches only tensors with at most this many values; 0 means any size."""
    to: TensorClass

    def matches(self, name: str, num_values: int) -> bool:
        return fnmatchcase(name, self.match) and (self.max_values == 0 or num_values <= self.max_values)


OPEN_METHOD = "trellis"
"""The best method that can meet a target."""

SMALL_PATTERNS = ("*scale", "*.qk_gain", "*.residual_mix", "smear.gate", "skip_weights")

DEFAULT_RULES: tuple[Rule, ...] = (
    *(Rule(match=pattern, to="small") for pattern in SMALL_PATTERNS),
    Rule(match="blocks.*.mlp.*", to="mlp"),
    Rule(match="blocks.*.attention.*", to="attention"),
    Rule(match="kv_projections.*", to="attention"),
    Rule(match="bigram.*", to="ngram"),
    Rule(match="trigram.*", to="ngram"),
    Rule(match="token_embedding.*", to="token_table"),
    Rule(match="output_head.*", to="token_table"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassScheme:
    """Storage of one class of tensors."""

    bits: Literal[2, 3, 4, 5, 6, 7, 8, 16, 32]
    """2..8: integer codes -2^(bits-1)..2^(bits-1)-1 with one fp16 scale per row; 16: fp16; 32: fp32."""
    step: float = 0.0
    """A value above 0 asks for open-ended codes instead of `bits`: it is the step of a uniform quantizer in standard
    deviations (root mean squares) of the tensor. 0.5 gives about 3.05 bits a weight after entropy coding, 1.0 about
    2.1."""

    def __post_init__(self) -> None:
        if not 0 <= self.step <= 64:
            raise ConfigError(f"step={self.step} must lie in 0..64 standard deviations")

    @property
    def is_float(self) -> bool:
        """Stored as fp16 or fp32: neither codes nor fake quantization."""
        return self.step == 0 and self.bits in FLOAT_BITS


def step_of_bits(bits: float) -> float:
    """ClassScheme.step at which the codes of Gaussian weights have an entropy of `bits` each: the differential entropy
    of a Gaussian, log2 sqrt(2 pi e), less the logarithm of the step. Exact for fine steps; 2 bits get 0.06 more, 1 bit
    0.2."""
    return math.sqrt(2 * math.pi * math.e) * math.pow(2, -bits)


@dataclass(frozen=True, kw_only=True, slots=True)
class QuantPolicy:
    """Rules and schemes: everything that export and quantization-aware training have in common."""

    rules: tuple[Rule, ...] = DEFAULT_RULES
    """The rules that send each tensor to a class by its name; the first match wins."""
    mlp: ClassScheme = field(default=ClassScheme(bits=4))
    """The matrices of the MLPs."""
    attention: ClassScheme = field(default=ClassScheme(bits=6))
    """Query, key, value and output projections."""
    ngram: ClassScheme = field(default=ClassScheme(bits=6))
    """Hashed tables and their projections."""
    token_table: ClassScheme = field(default=ClassScheme(bits=16))
    """The token table, and the output matrix of models that have one of its own."""
    small: ClassScheme = field(default=ClassScheme(bits=16))
    """Gains, scales, mixes, gates."""
    clip_grid: Literal["wide", "pr951"] | tuple[float, ...] = "wide"
    """Clip ratios that the search tries: a named grid, or a list of numbers in (0, 1]."""

    def __post_init__(self) -> None:
        ratios = self.clip_ratios
        if not ratios or any(not 0 < ratio <= 1 for ratio in ratios):
            raise ConfigError(f"clip_grid={list(ratios)} must hold at least one number, all in (0, 1]")

    @property
    def clip_ratios(self) -> tuple[float, ...]:
        """The grid as numbers, ascending."""
        grid = CLIP_GRIDS[self.clip_grid] if isinstance(self.clip_grid, str) else self.clip_grid
        return tuple(sorted(grid))


@dataclass(frozen=True, kw_only=True, slots=True)
class QuantizeConfig(QuantPolicy):
    """Settings of the quantize stage."""

    method: Annotated[str, QUANTIZERS] = "gptq_lite"
    """How codes are chosen: a line of quantizers.py. Each quantizer's file says what it does, and which one takes its
    place under a target."""
    trellis_states: Literal[4, 8] = 8
    """More states are nearer to the rate-distortion bound, and slower."""
    target_bytes: Literal["none", "limit"] | float = "none"
    """Size of packed.safetensors to solve for, in bytes; limit: pack.limit_bytes less the code reserve and 2,000
    bytes."""
    target_bits: float = 0.0
    """Instead of target_bytes: coded bits per weight of the MLP, attention and n-gram classes together; 0: none."""
    calibration: Literal["auto", "none", "train", "generated"] = "auto"
    """Tokens that show what an error costs: of the train shards, or sampled from the model itself. auto: train under a
    target where the training data is at hand, else none. Never validation data. Its seconds count towards the training
    time of a submission."""
    calibration_tokens: int = 0
    """0: 65,536, and proportionally fewer for more than 10 million parameters, but at least 8,192."""
    damping: float = 0.01
    """Share of the mean diagonal added to second moments before they are inverted."""
    rate_weight: float = 1.0
    """Price of a bit over its worth at high rate; 0 rounds to the nearest point."""
    sensitive_steps: bool = True
    """Steps follow what an error costs, by row, column and tensor; False: one step per tensor."""
    compile: Literal["auto", "off"] = "auto"
    """auto: search open-ended and gptq codes with machine code, where there is a C++ compiler, which needs some seconds
    the first time. The codes are the same, and found twenty times as fast."""
    prune_fraction: float = 0.0
    """Smallest share by magnitude set to zero before quantizing, in matrices above prune_min_values."""
    prune_min_values: int = 65536
    """The number of values above which a matrix is pruned."""

    def __post_init__(self) -> None:
        # The zero-argument super() does not work in dataclasses with slots: the class is created twice.
        QuantPolicy.__post_init__(self)
        QUANTIZERS.check("quantize.method", self.method)
        if not 0 <= self.prune_fraction < 1:
            raise ConfigError(f"quantize.prune_fraction={self.prune_fraction} must lie in [0, 1)")
        for key in ("calibration_tokens", "damping", "rate_weight", "target_bits"):
            if not getattr(self, key) >= 0:
                raise ConfigError(f"quantize.{key}={getattr(self, key)} must not be negative")
        if QUANTIZERS.load(self.quantizer).needs_moments and self.calibration in ("auto", "none"):
            raise ConfigError(
                f"quantize.method={self.method} needs the inputs' second moments",
                hint="--set quantize.calibration=train, or generated",
            )
        if not isinstance(self.target_bytes, str) and self.target_bytes <= 0:
            raise ConfigError(f"quantize.target_bytes={self.target_bytes} must be positive, `none` or `limit`")
        if self.has_target and not self.is_open:
            able = [name for name in QUANTIZERS.names if QUANTIZERS.load(name).is_open]
            raise ConfigError(
                f"quantize.target_bytes and target_bits need open-ended codes, which {self.method} does not have",
                hint=f"--set quantize.method={', or '.join(able)}",
            )
        if self.target_bytes != "none" and self.target_bits:
            raise ConfigError("quantize.target_bytes and quantize.target_bits exclude each other")

    @property
    def quantizer(self) -> str:
        """Name of the quantizer that is at work: that of `method`, or the one that takes its place under a target."""
        instead: str | None = QUANTIZERS.load(self.method).under_target
        return instead if self.has_target and instead is not None else self.method

    @property
    def is_open(self) -> bool:
        """True if the quantizer at work writes open-ended codes."""
        return bool(QUANTIZERS.load(self.quantizer).is_open)

    @property
    def formats(self) -> tuple[str, ...]:
        """Names of the formats (codec.formats) that the pieces may have."""
        stepped = any(getattr(self, name).step for name in get_args(TensorClass))
        return ("float", *(() if self.is_open else ("grid",)), *(("open",) if self.is_open or stepped else ()))

    @property
    def has_target(self) -> bool:
        return self.target_bytes != "none" or self.target_bits > 0


MIN_OPEN_VALUES = 256
"""A float tensor with fewer values keeps its floats under a target: a header and steps would cost more."""
LIMIT_MARGIN = 2_000
"""Bytes that target_bytes=limit leaves free under the limit."""


def target_bytes_of(settings: QuantizeConfig, limit_bytes: int, code_bytes_reserve: int) -> float:
    """Return quantize.target_bytes, which is not `none`, as a number. Raises ConfigError where the limit leaves
    nothing."""
    if settings.target_bytes != "limit":
        return float(settings.target_bytes)
    size = limit_bytes - code_bytes_reserve - LIMIT_MARGIN
    if size <= 0:
        raise ConfigError(f"pack.limit_bytes={limit_bytes} leaves nothing beside the code reserve")
    return size


MLP_ONLY = QuantPolicy(
    mlp=ClassScheme(bits=4),
    attention=ClassScheme(bits=16),
    ngram=ClassScheme(bits=16),
    small=ClassScheme(bits=32),
)
"""Default of train.qat: the MLP alone is fake-quantized; 16 and 32 bits mean 'left as it is'."""
