"""Settings of how text becomes shards."""

from __future__ import annotations

from dataclasses import dataclass

from golfpipe.errors import ConfigError


@dataclass(frozen=True, kw_only=True, slots=True)
class DataConfig:
    """Settings of the data commands and of the first stage of `run`."""

    source: str = "demo"
    """The data that `run` reads: `demo`, or the path of a token_data artifact."""
    vocab_size: int = 1024
    """The number of pieces of a tokenizer that is trained here."""
    val_fraction: float = 0.05
    """The share of documents that go to the validation split, by a hash of their text."""
    shard_tokens: int = 100_000_000
    """The most tokens in a shard file."""

    def __post_init__(self) -> None:
        if not 260 <= self.vocab_size <= 65536:
            raise ConfigError(
                f"data.vocab_size={self.vocab_size} must lie in 260..65536 (256 byte pieces and 4 control pieces)"
            )
        if not 0 < self.val_fraction < 1:
            raise ConfigError(f"data.val_fraction={self.val_fraction} must lie in (0, 1)")
        if self.shard_tokens < 1024:
            raise ConfigError(f"data.shard_tokens={self.shard_tokens} must be at least 1024")
