"""Recipes of test-time training (SPEC section 4)."""

from __future__ import annotations

from dataclasses import dataclass, fields
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


RECIPES: dict[str, type[CosineRecipe] | type[LoraRecipe] | type[SgdRecipe]] = {
    "cosine": CosineRecipe,
    "score_first_lora": LoraRecipe,
    "score_first_sgd": SgdRecipe,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class TttConfig:
    """Settings of the ttt stage. A value of null means the method's own default."""

    method: Literal["cosine", "score_first_lora", "score_first_sgd"] = "cosine"
    epochs: int | None = None
    lr: float | None = None
    rank: int | None = None
    momentum: float | None = None
    grad_clip: float | None = None
    chunk_tokens: int | None = None
    context_length: int | None = None
    batch_sequences: int | None = None
    batch_documents: int | None = None
    mlp_output_lr_scale: float | None = None
    mlp_input_lr_scale: float | None = None
    precision: Literal["fp32", "bf16"] = "fp32"

    def __post_init__(self) -> None:
        self.recipe()

    def recipe(self) -> CosineRecipe | LoraRecipe | SgdRecipe:
        """The method's recipe with this section's values. A value that the method does not use is an error."""
        recipe_type = RECIPES[self.method]
        known = {field.name for field in fields(recipe_type)}
        given = {
            field.name: getattr(self, field.name)
            for field in fields(self)
            if field.name not in ("method", "precision") and getattr(self, field.name) is not None
        }
        for key, value in given.items():
            if key not in known:
                raise ConfigError(f"ttt.{key}={value} is not used by ttt.method={self.method}")
            if not value > 0 and key not in (
                "lr",
                "grad_clip",
                "momentum",
                "mlp_output_lr_scale",
                "mlp_input_lr_scale",
            ):
                raise ConfigError(f"ttt.{key}={value} must be positive")
            if not value >= 0:
                raise ConfigError(f"ttt.{key}={value} must not be negative")
        return recipe_type(**given)
