"""What a method of test-time training is: everything that the rest of golfpipe asks of one.

A method's file holds its recipe, a subclass of Method and the object METHOD. It is imported by every command, so torch
is imported inside `run`, or by a module that `run` imports.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar

from golfpipe.errors import ConfigError
from golfpipe.scoring.config import EvaluateConfig

if TYPE_CHECKING:
    import numpy as np
    import torch

    from golfpipe.model.network import Network
    from golfpipe.optim.process_group import ProcessGroup


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """What the settings of every method have; a method's own class adds to it and sets the defaults."""

    epochs: int = 1
    """Passes over the tokens that are learned from."""
    lr: float = 0.001
    """The learning rate."""

    def check(self, key: str) -> None:
        """Raise ConfigError, naming the setting below `key`, for counts below 1 and numbers below 0."""
        for item in fields(self):
            value = getattr(self, item.name)
            least = 1 if item.type in (int, "int") else 0
            if isinstance(value, int | float) and not value >= least:
                raise ConfigError(f"{key}.{item.name}={value} must be at least {least}")


def _ignore(*values: object) -> None:
    """Do nothing: the hook of those who do not listen."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """What a method works on, and whom it tells."""

    network: Network
    """The model, in the precision of ttt.precision. `run` may change its weights in place."""
    tokens: np.ndarray
    """uint16, the validation tokens that are scored; their first one is no target."""
    bos_id: int
    """The token with which every document begins."""
    windows: EvaluateConfig
    """How targets are scored, for methods that score in the windows of `evaluate`."""
    seed: int
    device: torch.device
    processes: ProcessGroup
    """Those that share the work; each calls `run` with the same arguments."""
    loss_of: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] | None = None
    """A compiled form of the network's mean loss of inputs and targets; None: the network itself."""
    on_scored: Callable[[int, float], None] = _ignore
    """Called with (targets just scored, the sum of their nats) by methods that score first."""
    on_adapted: Callable[[int], None] = _ignore
    """Called with the number of documents that were learned from, by methods of which a setting bounds it."""
    on_step: Callable[[int], None] = _ignore
    """Called with the targets of each step by methods that do not score first."""
    on_epoch: Callable[[int, float, float], None] = _ignore
    """Called with (epoch from 1, mean loss in nats, last factor of the lr) by methods that do not score first."""


class Method(ABC):
    """One method of test-time training."""

    recipe: ClassVar[type[Recipe]]
    """The type of its settings."""
    about: ClassVar[str]
    """What it does, as the README of a submission says it."""
    told: ClassVar[tuple[str, ...]] = ()
    """Settings of the recipe that the README names beside epochs and lr: numbers, and lists of names."""
    score_first: ClassVar[bool]
    """True: every token is scored before an update that saw it, so `run` returns the scores, which are an eligible
    evaluation. False: `run` changes the network alone, and the adapted model is not eligible for a record."""
    by_document: ClassVar[bool] = False
    """Every document is treated by itself, in windows of the method's own instead of those of `evaluate`."""
    same_nats: ClassVar[float] = 1e-5
    """Nats per target within which a document scores the same beside other documents."""
    shortened: ClassVar[Mapping[str, int | float]] = {}
    """Settings of the recipe for a run that only has to show what the method computes."""

    @abstractmethod
    def run(self, work: Work, recipe: Any) -> np.ndarray | None:
        """Adapt `work.network` to `work.tokens`; return fp32 nats of every target [len(tokens) - 1], or None where the
        method does not score first."""

    def loss_batch(self, recipe: Any) -> tuple[int, int] | None:
        """Return (sequences, tokens per sequence) of the batches whose loss on all weights takes the method's time, so
        that compiling pays; None where there are none."""
        return None

    def trial_targets(self, recipe: Any, windows: EvaluateConfig) -> int:
        """Return the length of a text on which windows slide and at least one update lies before the last scores."""
        return windows.targets_of_several_windows

    def comparable_targets(self, recipe: Any, windows: EvaluateConfig, num_targets: int) -> int:
        """Return how many first targets of a text score the same whatever follows its first `num_targets`."""
        return windows.targets_of_same_windows(num_targets) if self.score_first else 0

    def ordered(self, recipe: Any) -> bool:
        """Return True if the method takes documents in an order of its own that its scores depend on."""
        return False

    def order(self, recipe: Any, tokens: np.ndarray, bos_id: int) -> np.ndarray:
        """Return the targets in the order in which they are scored, int64 [len(tokens) - 1]."""
        import numpy as np

        return np.arange(len(tokens) - 1)

    def repeatable(self, recipe: Any) -> Any:
        """Return the recipe without a clock that decides anything."""
        return recipe

    def one_by_one(self, recipe: Any) -> Any:
        """Return the recipe with which documents share no batch, for a method that treats each by itself."""
        return recipe

    def describe(self, recipe: Recipe) -> str:
        """Return the README's clause: what the method does, with its numbers."""
        numbers = [f"{recipe.epochs} epoch{'s' * (recipe.epochs != 1)}", f"lr {recipe.lr:g}"]
        for name in self.told:
            value = getattr(recipe, name)
            numbers.append(f"{name} {' and '.join(value) if isinstance(value, tuple) else f'{value:g}'}")
        return f"{self.about} ({', '.join(numbers)})"
