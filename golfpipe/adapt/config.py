"""Recipes of test-time training (docs/stages/ttt.md, Recipes)."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Literal

from golfpipe.errors import ConfigError


@dataclass(frozen=True, kw_only=True, slots=True)
class CosineRecipe:
    """AdamW over the validation tokens before they are scored. Not eligible for a record."""

    epochs: int = 30
    lr: float = 5e-4
    """Peak; a cosine takes it to 0 over all steps."""
    batch_sequences: int = 32
    context_length: int = 2048
    grad_clip: float = 1.0
    mlp_output_lr_scale: float = 3.0
    mlp_input_lr_scale: float = 0.5

    def __post_init__(self) -> None:
        _check_recipe("cosine", self)


@dataclass(frozen=True, kw_only=True, slots=True)
class LoraRecipe:
    """Low-rank adapters per document; each chunk is scored before it is learned from."""

    epochs: int = 1
    """Steps on each chunk after it is scored."""
    lr: float = 0.01
    rank: int = 8
    chunk_tokens: int = 256
    context_length: int = 1024
    batch_documents: int = 64

    def __post_init__(self) -> None:
        _check_recipe("score_first_lora", self)


@dataclass(frozen=True, kw_only=True, slots=True)
class SgdRecipe:
    """SGD on all weights; each chunk is scored with the sliding window before it is learned from."""

    epochs: int = 3
    lr: float = 0.002
    """Peak; a cosine over the chunks takes it to 0."""
    momentum: float = 0.9
    chunk_tokens: int = 32_768
    batch_sequences: int = 32
    context_length: int = 2048
    grad_clip: float = 1.0

    def __post_init__(self) -> None:
        _check_recipe("score_first_sgd", self)


Recipe = CosineRecipe | LoraRecipe | SgdRecipe


@dataclass(frozen=True, kw_only=True, slots=True)
class TttConfig:
    """Settings of the ttt stage: the method, and a section for each method."""

    method: Literal["cosine", "score_first_lora", "score_first_sgd"] = "cosine"
    epochs: int | None = None
    """Epochs of the chosen method; null takes its section's."""
    lr: float | None = None
    """Learning rate of the chosen method; null takes its section's."""
    precision: Literal["fp32", "bf16"] = "fp32"
    compile: Literal["auto", "on", "off"] = "auto"
    """Of training steps on all weights. auto: for work of more than a few minutes, on a CPU if there is a C++ compiler.
    Compiling takes one or two."""
    cosine: CosineRecipe = field(default_factory=CosineRecipe)
    score_first_lora: LoraRecipe = field(default_factory=LoraRecipe)
    score_first_sgd: SgdRecipe = field(default_factory=SgdRecipe)

    def __post_init__(self) -> None:
        self.recipe()

    def recipe(self) -> Recipe:
        """The chosen method's section with `epochs` and `lr` applied. Raises ConfigError."""
        recipe: Recipe = getattr(self, self.method)
        changes = {key: value for key in ("epochs", "lr") if (value := getattr(self, key)) is not None}
        return replace(recipe, **changes)


def _check_recipe(method: str, recipe: Recipe) -> None:
    """Counts are at least 1; rates and factors are not negative."""
    for item in fields(recipe):
        value = getattr(recipe, item.name)
        least = 1 if item.type == "int" else 0
        if not value >= least:
            raise ConfigError(f"ttt.{method}.{item.name}={value} must be at least {least}")
