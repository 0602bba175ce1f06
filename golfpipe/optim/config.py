"""Learning rates, momenta and decay of the three parameter groups (docs/stages/train.md, Method)."""

from __future__ import annotations

from dataclasses import dataclass

from golfpipe.errors import ConfigError


@dataclass(frozen=True, kw_only=True, slots=True)
class OptimConfig:
    """Settings of Muon for matrices, and of AdamW for tables ('embed') and for gains, scales, gates ('scalar')."""

    matrix_lr: float = 0.02
    """The peak learning rate of Muon, for matrices."""
    embed_lr: float = 0.03
    """The peak learning rate of AdamW for the token and n-gram tables."""
    scalar_lr: float = 0.02
    """The peak learning rate of AdamW for gains, scales and gates."""
    weight_decay: float = 0.04
    """Decoupled weight decay of all groups that have none of their own: in a step, weights shrink by
    lr * weight_decay."""
    embed_weight_decay: float | None = None
    """The weight decay of the token and n-gram tables; null: weight_decay."""
    scalar_weight_decay: float | None = None
    """The weight decay of gains, scales and gates; null: weight_decay."""
    row_normalize: bool = False
    """True: Muon divides each row of an update by its norm before it orthogonalizes the matrix."""
    momentum: float = 0.99
    """Muon's momentum after its warm-up."""
    momentum_start: float = 0.92
    """Muon's momentum in the first step; it rises linearly to `momentum`."""
    momentum_warmup_steps: int = 1500
    """The number of steps in which the momentum rises."""
    beta1: float = 0.9
    """AdamW's decay per step of the mean of gradients."""
    beta2: float = 0.95
    """AdamW's decay per step of the mean of squared gradients."""
    eps: float = 1e-8
    """The number that AdamW adds to the root of the mean square, against division by 0."""
    grad_clip: float = 0.3
    """The global norm to which gradients are clipped; 0 turns clipping off."""

    def __post_init__(self) -> None:
        for key in ("matrix_lr", "embed_lr", "scalar_lr", "weight_decay", "grad_clip", "momentum_warmup_steps"):
            if not getattr(self, key) >= 0:
                raise ConfigError(f"optim.{key}={getattr(self, key)} must not be negative")
        for key in ("embed_weight_decay", "scalar_weight_decay"):
            if not (getattr(self, key) is None or getattr(self, key) >= 0):
                raise ConfigError(f"optim.{key}={getattr(self, key)} must not be negative")
        for key in ("momentum", "momentum_start", "beta1", "beta2"):
            if not 0 <= getattr(self, key) < 1:
                raise ConfigError(f"optim.{key}={getattr(self, key)} must lie in [0, 1)")
        if not self.eps > 0:
            raise ConfigError(f"optim.eps={self.eps} must be positive")
