"""Settings of how text becomes shards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from golfpipe.errors import ConfigError

Normalization = Literal["identity", "nmt_nfkc"]
Transform = Literal["none", "caps", "caps_before_space"]


@dataclass(frozen=True, kw_only=True, slots=True)
class DataConfig:
    """Settings of the data commands and of the first stage of `run`."""

    source: str = "demo"
    """What `run` reads: `demo`, or the path of a token_data artifact."""
    vocab_size: int = 0
    """Pieces of a tokenizer trained here; 0: 1,024, or as many as the text yields, or where it has many characters, as
    Chinese has, as many as these need; for the demo corpus 2,048."""
    normalization: Normalization | Literal["auto"] = "auto"
    """What a tokenizer trained here does to text. identity: nothing, line breaks and indentation are kept. nmt_nfkc: as
    the challenge's tokenizers, compatibility forms become plain characters and all white space becomes single spaces.
    auto: identity for text of your own, nmt_nfkc for the demo corpus, which is prose."""
    transform: Transform = "none"
    """What a tokenizer trained here does to capitals. none: nothing. caps: as the challenge's later records, markers
    before lower-case words. caps_before_space: the marker stands before the word's space, so that a word has the
    same piece in either case. Text and scored bytes are those of the original; normalization is identity."""
    shuffle: bool = True
    """Write the documents of each split in a random order. Neighbors in a text are alike, and a batch should not be.
    The demo corpus is mixed anyway."""
    val_fraction: float = 0.05
    """The share of documents that go to the validation split, by a hash of their text."""
    shard_tokens: int = 100_000_000
    """The most tokens in a shard file."""

    def normalization_of(self, usual: Normalization) -> Normalization:
        """Return the normalization of a tokenizer trained here, where auto means the `usual` one."""
        if self.normalization != "auto":
            return self.normalization
        return usual if self.transform == "none" else "identity"

    def __post_init__(self) -> None:
        if self.vocab_size and not 260 <= self.vocab_size <= 65536:
            raise ConfigError(
                f"data.vocab_size={self.vocab_size} must lie in 260..65536 (256 byte pieces and 4 control pieces), or"
                " be 0"
            )
        if self.transform != "none" and self.normalization == "nmt_nfkc":
            raise ConfigError(
                f"data.transform={self.transform} needs data.normalization=identity: a character that changes after the"
                " transform may part a marker from its letter, and the text would not come back"
            )
        if not 0 < self.val_fraction < 1:
            raise ConfigError(f"data.val_fraction={self.val_fraction} must lie in (0, 1)")
        if self.shard_tokens < 1024:
            raise ConfigError(f"data.shard_tokens={self.shard_tokens} must be at least 1024")
