"""The evaluation's own method, from the packed file, as something that can be put on trial.

The calls are those of the stages `ttt` and `evaluate`; only the text is another one.
"""

# Shapes: N positions, D model width, V vocabulary

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from golfpipe.adapt.method import Method, Recipe, Work
from golfpipe.config.schema import PipelineConfig
from golfpipe.data.tokenizer import Tokenizer
from golfpipe.loading.weights import COMPUTE_DTYPES
from golfpipe.model.config import ModelConfig
from golfpipe.model.network import load_network
from golfpipe.optim.process_group import ALONE
from golfpipe.scoring.score import score_windows
from golfpipe.scoring.windows import batch_windows, plan_windows
from golfpipe.submission.trial.scorer import OnScored, TextOf, Trial, stream_order

MAX_PROBES = 200
"""Positions at which the sum over the vocabulary is taken inside the method."""


class PackedScorer(TextOf):
    """A Scorer over the weights in a packed file."""

    def __init__(
        self,
        model: ModelConfig,
        weights: dict[str, Tensor],
        tokenizer: Tokenizer,
        config: PipelineConfig,
        device: torch.device,
        *,
        adapted: bool,
    ) -> None:
        """`config`: of the evaluation, or of the packed model that it is one of. `adapted`: test-time training had a
        part in it."""
        super().__init__(tokenizer)
        self._windows, self._ttt, self._seed = config.evaluate, config.ttt if adapted else None, config.seed
        self.adapts, self.ordered = adapted, self._ttt is not None and self._ttt.chosen.ordered(self._ttt.recipe())
        self.name: str = self._windows.method
        self.wanted_targets, self.same_nats = self._windows.targets_of_several_windows, Method.same_nats
        if self._ttt is not None:
            method = self._ttt.chosen
            self.name = self._ttt.method if method.by_document else f"{self._ttt.method}+{self.name}"
            self.wanted_targets = method.trial_targets(self._ttt.recipe(), self._windows)
            self.same_nats = method.same_nats
        self.probability_sums: list[float] = []
        self.scores_computed = 0
        self._device = device
        self._weights = {name: tensor.to(device) for name, tensor in weights.items()}
        self._network = load_network(model, weights).to(device)
        self._plain_nats = self._network.nats
        self._probes = np.random.default_rng(0)
        self._network.nats = self._probed_nats  # type: ignore[method-assign]

    def score(self, tokens: np.ndarray, on_scored: OnScored) -> np.ndarray:
        if self._ttt is not None:
            return self._adapted(tokens, self._ttt.recipe(), on_scored)
        self._reset(self._windows.precision)
        return self._plain(tokens, on_scored)

    def order(self, tokens: np.ndarray) -> np.ndarray:
        if self._ttt is None:
            return stream_order(tokens)
        return self._ttt.chosen.order(self._ttt.recipe(), tokens, self.bos_id)

    def probabilities(self, tokens: np.ndarray, targets: np.ndarray) -> None:
        """Return None: `probability_sums` are taken inside of the network."""

    def comparable_targets(self, num_targets: int) -> int:
        if self._ttt is None:
            return self._windows.targets_of_same_windows(num_targets)
        return self._ttt.chosen.comparable_targets(self._ttt.recipe(), self._windows, num_targets)

    def trials(self) -> Sequence[Trial]:
        if self._ttt is None or not self._ttt.chosen.by_document:
            return (Trial(score=self.score, moves_documents=True),)
        single = self._ttt.chosen.one_by_one(self._ttt.recipe())
        return (
            Trial(score=self.score, moves_documents=False),
            Trial(
                score=lambda tokens, on_scored: self._adapted(tokens, single, on_scored),
                moves_documents=not self.ordered,
            ),
        )

    def _adapted(self, tokens: np.ndarray, recipe: Recipe, on_scored: OnScored) -> np.ndarray:
        """Scores after, or during, test-time training with the recipe, from the packed weights."""
        assert self._ttt is not None
        self._reset(self._ttt.precision)
        work = Work(
            network=self._network,
            tokens=tokens,
            bos_id=self.bos_id,
            windows=self._windows,
            seed=self._seed,
            device=self._device,
            processes=ALONE,
            on_scored=on_scored,
        )
        nats = self._ttt.chosen.run(work, self._ttt.chosen.repeatable(recipe))
        return self._plain(tokens, on_scored) if nats is None else nats

    def _plain(self, tokens: np.ndarray, on_scored: OnScored) -> np.ndarray:
        """Scores of the network as it is."""
        windows = self._windows
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

    def _probed_nats(self, hidden_ND: Tensor, targets_N: Tensor, added_NV: Tensor | None = None) -> Tensor:
        """The network's own function, counted, and now and then the same function for every token of the
        vocabulary."""
        if not torch.is_grad_enabled():
            self.scores_computed += len(hidden_ND)
        if len(hidden_ND) and len(self.probability_sums) < MAX_PROBES:
            row = int(self._probes.integers(len(hidden_ND)))
            with torch.no_grad():
                every_V = torch.arange(self.vocab_size, device=hidden_ND.device)
                added_VV = added_NV if added_NV is None else added_NV[row].expand(self.vocab_size, -1)
                nats_V = self._plain_nats(hidden_ND[row].detach().expand(self.vocab_size, -1), every_V, added_VV)
                self.probability_sums.append(float(nats_V.double().neg().exp().sum().item()))
        return self._plain_nats(hidden_ND, targets_N, added_NV)
