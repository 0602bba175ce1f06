"""Settings of test-time training: the method, and a section with the recipe of each method in the table."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Annotated, Literal, TypeVar, dataclass_transform

from golfpipe.adapt.method import Method, Recipe
from golfpipe.adapt.methods import METHODS

Section = TypeVar("Section")


@dataclass_transform(frozen_default=True, kw_only_default=True)
def _with_recipes(cls: type[Section]) -> type[Section]:
    """Make `cls` a dataclass that has, after its own fields, the recipe of every method as a section of its name."""
    for name in METHODS.names:
        recipe = METHODS.load(name).recipe
        cls.__annotations__[name] = recipe
        setattr(cls, name, field(default_factory=recipe))
    return dataclass(frozen=True, kw_only=True, slots=True)(cls)


@_with_recipes
class TttConfig:
    """Settings of the ttt stage."""

    method: Annotated[str, METHODS] = "cosine"
    """The method of test-time training: a line of methods.py, whose settings are in the section of its name."""
    epochs: int | None = None
    """Epochs of the chosen method; null takes its section's."""
    lr: float | None = None
    """Learning rate of the chosen method; null takes its section's."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """The precision of activations and products; bf16 is faster on GPUs."""
    compile: Literal["auto", "on", "off"] = "auto"
    """Compile the training steps of methods that train all weights. auto compiles work of more than a few minutes, on a
    CPU only if there is a C++ compiler. Compiling takes a minute or two."""

    def __post_init__(self) -> None:
        METHODS.check("ttt.method", self.method)
        for name in METHODS.names:
            getattr(self, name).check(f"ttt.{name}")
        self.recipe().check(f"ttt.{self.method}")

    @property
    def chosen(self) -> Method:
        """The method that ttt.method names."""
        method: Method = METHODS.load(self.method)
        return method

    def recipe(self) -> Recipe:
        """Return the chosen method's section with `epochs` and `lr` applied."""
        recipe: Recipe = getattr(self, self.method)
        changes = {key: value for key in ("epochs", "lr") if (value := getattr(self, key)) is not None}
        return replace(recipe, **changes)
