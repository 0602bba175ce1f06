"""The evaluation's own method, from the packed file, as something that can be put on trial.

The calls are those of the stages `ttt` and `evaluate`; only the text is another one.
"""

# Shapes: N positions, D model width, V vocabulary

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from golfpipe.adapt.config import TttConfig
from golfpipe.adapt.method import Recipe, Work
from golfpipe.config.schema import PipelineConfig
from golfpipe.data.tokenizer import Tokenizer
from golfpipe.loading.weights import COMPUTE_DTYPES
from golfpipe.model.config import ModelConfig
from golfpipe.model.network import load_network
from golfpipe.optim.process_group import ALONE
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
    ttt: TttConfig | None
    """Test-time training; None for a plain evaluation."""
    seed: int

    @classmethod
    def of(cls, config: PipelineConfig, *, adapted: bool) -> MethodSettings:
        """From the configuration of the evaluation, or of the model that it is one of."""
        return cls(evaluate=config.evaluate, ttt=config.ttt if adapted else None, seed=config.seed)

    @property
    def name(self) -> str:
        """For people: sliding, cosine+sliding, score_first_lora, ..."""
        if self.ttt is None:
            return self.evaluate.method
        return self.ttt.method if self.ttt.chosen.by_document else f"{self.ttt.method}+{self.evaluate.method}"

    @property
    def wanted_targets(self) -> int:
        """Length of text on which windows slide, and at least one update lies before the last scores."""
        if self.ttt is None:
            return self.evaluate.targets_of_several_windows
        return self.ttt.chosen.trial_targets(self.ttt.recipe(), self.evaluate)


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
        self.adapts = settings.ttt is not None
        self.wanted_targets = settings.wanted_targets
        self.probability_sums: list[float] = []
        self._settings, self._tokenizer, self._device = settings, tokenizer, device
        self._weights = {name: tensor.to(device) for name, tensor in weights.items()}
        self._network = load_network(config, weights).to(device)
        self._plain_nats = self._network.nats
        self._probes = np.random.default_rng(0)
        self._network.nats = self._probed_nats  # type: ignore[method-assign]

    def score(self, tokens: np.ndarray, on_scored: OnScored) -> np.ndarray:
        ttt = self._settings.ttt
        if ttt is not None:
            return self._adapted(tokens, ttt.recipe(), on_scored)
        self._reset(self._settings.evaluate.precision)
        return self._plain(tokens, on_scored)

    def sizes(self, tokens: np.ndarray) -> np.ndarray:
        return target_bytes(self._tokenizer.byte_table, tokens[:-1], tokens[1:])

    def decoded_bytes(self, document: np.ndarray) -> int:
        return len(self._tokenizer.decode(document).encode("utf-8"))

    def comparable_targets(self, num_targets: int) -> int:
        windows, ttt = self._settings.evaluate, self._settings.ttt
        if ttt is None:
            return windows.targets_of_same_windows(num_targets)
        return ttt.chosen.comparable_targets(ttt.recipe(), windows, num_targets)

    def trials(self) -> Sequence[Trial]:
        ttt = self._settings.ttt
        if ttt is None or not ttt.chosen.by_document:
            return (Trial(score=self.score, moves_documents=True),)
        single = ttt.chosen.one_by_one(ttt.recipe())
        return (
            Trial(score=self.score, moves_documents=False),
            Trial(score=lambda tokens, on_scored: self._adapted(tokens, single, on_scored), moves_documents=True),
        )

    def _adapted(self, tokens: np.ndarray, recipe: Recipe, on_scored: OnScored) -> np.ndarray:
        """Scores after, or during, test-time training with the recipe, from the packed weights."""
        settings, network = self._settings, self._network
        assert settings.ttt is not None
        self._reset(settings.ttt.precision)
        work = Work(
            network=network,
            tokens=tokens,
            bos_id=self.bos_id,
            windows=settings.evaluate,
            seed=settings.seed,
            device=self._device,
            processes=ALONE,
            on_scored=on_scored,
        )
        nats = settings.ttt.chosen.run(work, recipe)
        return self._plain(tokens, on_scored) if nats is None else nats

    def _plain(self, tokens: np.ndarray, on_scored: OnScored) -> np.ndarray:
        """Scores of the network as it is."""
        windows = self._settings.evaluate
        self._network.compute_dtype = COMPUTE_DTYPES[windows.precision]
        nats = np.full(len(tokens) - 1, np.nan, dtype=np.float32)
        batches = batch_windows(plan_windows(len(nats), windows), windows.pass_tokens(self._device.type))
        score_windows(self._network.last_nats, tokens, batches, nats, self._device, on_scored)
        return nats

    def _reset(self, precision: str) -> None:
        """Forget what was learned."""
        self._network.float().load_state_dict(self._weights)
        self._network.requires_grad_(True)
        self._network.compute_dtype = COMPUTE_DTYPES[precision]

    def _probed_nats(self, hidden_ND: Tensor, targets_N: Tensor) -> Tensor:
        """The network's own function, and now and then the same function for every token of the vocabulary."""
        if len(hidden_ND) and len(self.probability_sums) < MAX_PROBES:
            row = int(self._probes.integers(len(hidden_ND)))
            with torch.no_grad():
                every_V = torch.arange(self.vocab_size, device=hidden_ND.device)
                nats_V = self._plain_nats(hidden_ND[row].detach().expand(self.vocab_size, -1), every_V)
                self.probability_sums.append(float(nats_V.double().neg().exp().sum().item()))
        return self._plain_nats(hidden_ND, targets_N)
