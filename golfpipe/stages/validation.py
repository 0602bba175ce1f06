"""The score of a training's averaged weights on windows from everywhere in the validation split."""

from __future__ import annotations

import numpy as np

from golfpipe.data.token_data import load_windows
from golfpipe.data.tokenizer import Tokenizer
from golfpipe.scoring.config import EvaluateConfig
from golfpipe.scoring.score import Score, score_windows, summarize_sample
from golfpipe.scoring.windows import batch_windows
from golfpipe.store.artifact import Artifact
from golfpipe.training.config import TrainConfig
from golfpipe.training.trainer import Trainer


class Validation:
    """Disjoint windows of the training length, of at most `validation_targets` targets in all, or all for 0."""

    def __init__(self, data: Artifact, tokenizer: Tokenizer, settings: TrainConfig) -> None:
        """Read the tokens. Raises ArtifactError, and DataError where the split has no target."""
        self.sample = load_windows(data, tokenizer, settings.context_length, settings.validation_targets)

    def score(self, trainer: Trainer) -> Score:
        """Score the averaged weights. The work is shared among the processes."""
        sample = self.sample
        nats = np.full(len(sample.sizes), np.nan, dtype=np.float32)
        batches = batch_windows(sample.windows, EvaluateConfig().pass_tokens(trainer.device.type))
        with trainer.averaged_weights() as network:
            score_windows(network.last_nats, sample.tokens, trainer.processes.share(batches), nats, trainer.device)
        trainer.processes.merge(nats)
        return summarize_sample(nats, sample.sizes)
