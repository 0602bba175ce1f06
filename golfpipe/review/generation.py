"""Draw text from any model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from golfpipe.data.text_stream import TextStream
from golfpipe.data.token_data import load_tokenizer
from golfpipe.data.tokenizer import Tokenizer
from golfpipe.errors import ArtifactError, UsageError
from golfpipe.jobs.provenance import data_reference
from golfpipe.jobs.registry import SCORED_KINDS
from golfpipe.loading.pieces import model_config
from golfpipe.loading.weights import check_vocabulary, load_weights
from golfpipe.machine.devices import select_device, select_threads
from golfpipe.model.network import load_network
from golfpipe.model.sampling import sample_tokens
from golfpipe.store.artifact import Artifact, open_artifact
from golfpipe.store.search import find_artifact


@dataclass(frozen=True, kw_only=True)
class GenerationSettings:
    """Settings of how text is drawn."""

    prompt: str = ""
    tokens: int = 200
    temperature: float = 0.8
    """The temperature; 0 takes the likeliest token each time."""
    top_k: int = 0
    """The number of likeliest tokens to draw from; 0 draws from all."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.tokens < 1:
            raise UsageError(f"tokens={self.tokens} must be at least 1")
        if not 0 <= self.temperature < float("inf"):
            raise UsageError(f"temperature={self.temperature} must be 0 or more")
        if self.top_k < 0:
            raise UsageError(f"top_k={self.top_k} must be 0 (all tokens) or more")


class Generator:
    """A model that is loaded once and goes on from any number of prompts."""

    def __init__(
        self, model: Path, *, data: Path | None = None, device: str = "auto", threads: int | None = None
    ) -> None:
        """Load the model and its tokenizer: that of `data`; None means the model's own data.

        Raises UsageError, ArtifactError, DataError.
        """
        select_threads(threads)
        source = open_artifact(model, *SCORED_KINDS)
        config = model_config(source)
        self._tokenizer = _tokenizer(source, data)
        check_vocabulary(config, self._tokenizer)
        self._network = load_network(config, load_weights(source)).to(torch.device(select_device(device)))
        train = source.manifest.config.get("train", {})
        length = train.get("context_length") if isinstance(train, dict) else None
        self._context_length = length if isinstance(length, int) and length > 0 else None

    def text(self, settings: GenerationSettings) -> Iterator[str]:
        """Yield pieces of the text that follows the prompt, as they are drawn."""
        prompt = self._tokenizer.encode([settings.prompt])[0].tolist()
        drawn = sample_tokens(
            self._network,
            prompt,
            count=settings.tokens,
            temperature=settings.temperature,
            top_k=settings.top_k,
            context_length=self._context_length or len(prompt) + settings.tokens,
            seed=settings.seed,
            banned=_unspeakable(self._tokenizer),
        )
        return _spoken(self._tokenizer, prompt, drawn)


def _spoken(tokenizer: Tokenizer, prompt: list[int], drawn: Iterator[int]) -> Iterator[str]:
    stream = TextStream(tokenizer)
    for token in prompt:  # the text then goes on where the prompt ended, spaces included
        stream.add(token)
    for token in drawn:
        text = stream.add(token)
        if text:
            yield text
    rest = stream.end()
    if rest:
        yield rest


def _tokenizer(source: Artifact, data: Path | None) -> Tokenizer:
    if data is not None:
        return load_tokenizer(open_artifact(data, "token_data"))
    reference = data_reference(source.manifest)
    if reference is None:
        raise ArtifactError(f"{source.path}: its manifest names no data", hint="give the data with --data")
    return load_tokenizer(find_artifact(reference, source.path))


def _unspeakable(tokenizer: Tokenizer) -> list[int]:
    """Return the pieces that are no text, except BOS, which begins the next document."""
    return [
        token
        for token, kind in enumerate(tokenizer.piece_types)
        if kind in ("control", "unknown", "unused") and token != tokenizer.bos_id
    ]
