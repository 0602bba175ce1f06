"""The score of a training's averaged weights on the beginning of the validation split."""

from __future__ import annotations

import numpy as np

from golfpipe.data.token_data import load_validation
from golfpipe.data.tokenizer import Tokenizer
from golfpipe.scoring.config import EvaluateConfig
from golfpipe.scoring.score import Score, score_windows, summarize
from golfpipe.scoring.windows import batch_windows, chunked_windows
from golfpipe.store.artifact import Artifact
from golfpipe.training.trainer import Trainer


class Validation:
    """The first `max_targets` targets of the validation split, or all of them for 0."""

    def __init__(self, data: Artifact, tokenizer: Tokenizer, max_targets: int) -> None:
        """Open the tokens. Raises ArtifactError, and DataError where the split has no target."""
        self.tokens, _ = load_validation(data, max_targets)
        self.tokenizer = tokenizer

    def score(self, trainer: Trainer) -> Score:
        """Score the averaged weights in disjoint windows of the training length, shared among the processes."""
        nats = np.full(len(self.tokens) - 1, np.nan, dtype=np.float32)
        windows = chunked_windows(len(nats), trainer.config.context_length)
        batches = batch_windows(windows, EvaluateConfig().pass_tokens(trainer.device.type))
        with trainer.averaged_weights() as network:
            score_windows(network.last_nats, self.tokens, trainer.processes.share(batches), nats, trainer.device)
        trainer.processes.merge(nats)
        return summarize(self.tokens, nats, self.tokenizer.byte_table, self.tokenizer.bos_id)
