"""The evaluation's own method, from the packed file, as something that can be put on trial.

The calls are those of the stages `ttt` and `evaluate`; only the text is another one.
"""

# Shapes: N positions, D model width, V vocabulary

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from golfpipe.adapt.config import CosineRecipe, LoraRecipe, Recipe, SgdRecipe
from golfpipe.adapt.cosine import adapt_cosine
from golfpipe.adapt.score_first_lora import score_first_lora
from golfpipe.adapt.score_first_sgd import score_first_sgd
from golfpipe.config.schema import PipelineConfig
from golfpipe.data.tokenizer import Tokenizer
from golfpipe.loading.weights import COMPUTE_DTYPES
from golfpipe.model.config import ModelConfig
from golfpipe.model.network import load_network
from golfpipe.scoring.byte_table import target_bytes
from golfpipe.scoring.config import EvaluateConfig
from golfpipe.scoring.score import score_windows
from golfpipe.scoring.windows import batch_windows, plan_windows
from golfpipe.submission.trial.scorer import OnScored, Trial

MAX_PROBES = 200
"""Positions at which the sum over the vocabulary is taken inside the method."""


@dataclass(frozen=True, kw_only=True)
class MethodSettings:
    """How a packed model became a score."""

    evaluate: EvaluateConfig
    recipe: Recipe | None
    """Test-time training; None for a plain evaluation."""
    ttt_precision: str
    seed: int

    @classmethod
    def of(cls, config: PipelineConfig, *, adapted: bool) -> MethodSettings:
        """From the configuration of the evaluation, or of the model that it is one of."""
        return cls(
            evaluate=config.evaluate,
            recipe=config.ttt.recipe() if adapted else None,
            ttt_precision=config.ttt.precision,
            seed=config.seed,
        )

    @property
    def name(self) -> str:
        plain = self.evaluate.method
        match self.recipe:
            case CosineRecipe():
                return f"cosine+{plain}"
            case LoraRecipe():
                return "score_first_lora"
            case SgdRecipe():
                return f"score_first_sgd+{plain}"
            case _:
                return plain


class PackedScorer:
    """A Scorer over the weights in a packed file."""

    def __init__(
        self,
        config: ModelConfig,
        weights: dict[str, Tensor],
        tokenizer: Tokenizer,
        settings: MethodSettings,
        device: torch.device,
    ) -> None:
        self.name, self.vocab_size, self.bos_id = settings.name, config.vocab_size, config.bos_id
        self.adapts = settings.recipe is not None
        self.wanted_targets = _wanted_targets(settings)
        self.probability_sums: list[float] = []
        self._settings, self._tokenizer, self._device = settings, tokenizer, device
        self._weights = {name: tensor.to(device) for name, tensor in weights.items()}
        self._network = load_network(config, weights).to(device)
        self._plain_nats = self._network.nats
        self._probes = np.random.default_rng(0)
        self._network.nats = self._probed_nats  # type: ignore[method-assign]

    def score(self, tokens: np.ndarray, on_scored: OnScored) -> np.ndarray:
        return self._score(tokens, self._settings.recipe, on_scored)

    def sizes(self, tokens: np.ndarray) -> np.ndarray:
        return target_bytes(self._tokenizer.byte_table, tokens[:-1], tokens[1:])

    def decoded_bytes(self, document: np.ndarray) -> int:
        return len(self._tokenizer.decode(document).encode("utf-8"))

    def comparable_targets(self, num_targets: int) -> int:
        windows, recipe = self._settings.evaluate, self._settings.recipe
        if isinstance(recipe, CosineRecipe):
            return 0  # it learned from the whole text
        if isinstance(recipe, LoraRecipe):
            return num_targets  # documents are by themselves
        length = windows.context_length
        same_windows = (
            num_targets // length * length
            if windows.method == "chunked"
            else max(min(length, num_targets), num_targets - windows.stride)
        )
        # The lr factor of the first update is 1 in any text, that of the second depends on its length.
        return min(same_windows, 2 * recipe.chunk_tokens) if isinstance(recipe, SgdRecipe) else same_windows

    def trials(self) -> Sequence[Trial]:
        recipe = self._settings.recipe
        if not isinstance(recipe, LoraRecipe):
            return (Trial(score=self.score, moves_documents=True),)
        single = replace(recipe, batch_documents=1)
        return (
            Trial(score=self.score, moves_documents=False),
            Trial(score=lambda tokens, on_scored: self._score(tokens, single, on_scored), moves_documents=True),
        )

    def _score(self, tokens: np.ndarray, recipe: Recipe | None, on_scored: OnScored) -> np.ndarray:
        network, windows = self._network, self._settings.evaluate
        network.load_state_dict(self._weights)
        network.requires_grad_(True)
        network.compute_dtype = COMPUTE_DTYPES[self._settings.ttt_precision]
        if isinstance(recipe, LoraRecipe):
            return score_first_lora(network, tokens, self.bos_id, recipe, self._settings.seed, self._device, on_scored)
        if isinstance(recipe, SgdRecipe):
            plan = plan_windows(len(tokens) - 1, windows)
            return score_first_sgd(
                network, tokens, plan, recipe, windows.pass_tokens(self._device.type), self._device, on_scored
            )
        if isinstance(recipe, CosineRecipe):
            adapt_cosine(network, tokens, recipe, self._device, lambda *epoch: None, lambda targets: None)
        network.compute_dtype = COMPUTE_DTYPES[windows.precision]
        nats = np.full(len(tokens) - 1, np.nan, dtype=np.float32)
        batches = batch_windows(plan_windows(len(nats), windows), windows.pass_tokens(self._device.type))
        score_windows(network.last_nats, tokens, batches, nats, self._device, on_scored)
        return nats

    def _probed_nats(self, hidden_ND: Tensor, targets_N: Tensor) -> Tensor:
        """The network's own function, and now and then the same function for every token of the vocabulary."""
        if len(hidden_ND) and len(self.probability_sums) < MAX_PROBES:
            row = int(self._probes.integers(len(hidden_ND)))
            with torch.no_grad():
                every_V = torch.arange(self.vocab_size, device=hidden_ND.device)
                nats_V = self._plain_nats(hidden_ND[row].detach().expand(self.vocab_size, -1), every_V)
                self.probability_sums.append(float(nats_V.double().neg().exp().sum().item()))
        return self._plain_nats(hidden_ND, targets_N)


def _wanted_targets(settings: MethodSettings) -> int:
    """So that windows slide, and at least one update lies before the last scores."""
    windows, recipe = settings.evaluate, settings.recipe
    if isinstance(recipe, LoraRecipe):
        return 5 * recipe.chunk_tokens
    plain = windows.context_length + (
        4 * windows.stride if windows.method == "sliding" else windows.context_length // 2
    )
    if isinstance(recipe, SgdRecipe):
        return max(plain, recipe.chunk_tokens + max(128, 4 * windows.stride))
    return plain
