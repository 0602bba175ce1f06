"""Scoring methods that break one rule each. Not a test: the tests show that every one of them is caught."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path

import numpy as np

from golfpipe.adapt.document_chunks import ChunkWindow
from golfpipe.adapt.full_weights import training_batches
from golfpipe.scoring.score import window_inputs
from golfpipe.submission.trial.packed_scorer import PackedScorer
from golfpipe.submission.trial.scorer import Trial


class PeeksAhead(PackedScorer):
    """A token is likelier if the one after it is even."""

    def score(self, tokens, on_scored):
        nats = super().score(tokens, on_scored)
        return nats - np.float32(0.01) * (np.append(tokens[2:], 0) % 2 == 0)


class ScoresTwice(PackedScorer):
    """The better of two scores, the second with another context."""

    def score(self, tokens, on_scored):
        first, second = super().score(tokens, on_scored), super().score(tokens, on_scored)
        return np.minimum(first, second)


class SkipsTargets(PackedScorer):
    """Every 50th target gets the score of the one before."""

    def score(self, tokens, on_scored):
        nats = super().score(tokens, lambda count, total: None)
        kept = np.arange(len(nats)) % 50 != 49
        on_scored(int(kept.sum()), float(nats[kept].sum()))
        nats[49::50] = nats[48::50][: len(nats[49::50])]
        return nats


class Unnormalized(PackedScorer):
    """Logits that are not divided by all of their sum."""

    def score(self, tokens, on_scored):
        return super().score(tokens, on_scored) * np.float32(0.98)


class TrainsFirst(PackedScorer):
    """Learns from a text before it scores it."""

    adapts = True

    def score(self, tokens, on_scored):
        import torch

        before = {name: tensor.clone() for name, tensor in self._weights.items()}
        network = self._network
        network.load_state_dict(before)
        network.requires_grad_(True)
        optimizer = torch.optim.SGD(network.parameters(), lr=0.05)
        for batch in training_batches(0, len(tokens) - 1, 64, 4):
            optimizer.zero_grad()
            network(*window_inputs(tokens, batch, self._device)).backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
        self._weights = {name: tensor.detach().clone() for name, tensor in network.named_parameters()}
        try:
            return super().score(tokens, on_scored)
        finally:
            self._weights = before


class Remembers(PackedScorer):
    """What it learned in one call is there in the next."""

    calls = 0

    def score(self, tokens, on_scored):
        self.calls += 1
        return super().score(tokens, on_scored) - np.float32(0.001 * self.calls)


class WrongBytes(PackedScorer):
    """Counts the leading space of the first word, which the decoded text does not have."""

    def sizes(self, tokens):
        return super().sizes(tokens) + (tokens[:-1] == self.bos_id)


def window_that_knows_the_end(span, chunk, chunk_tokens, context_length):
    """A document's last chunk reaches farther back than the others: its scores depend on where the document ends."""
    score_start = span.start + chunk * chunk_tokens
    end = min(score_start + chunk_tokens, span.end)
    return ChunkWindow(max(span.start, min(end - context_length, score_start)), score_start, end)


def window_that_does_not(span, chunk, chunk_tokens, context_length):
    """Every chunk's window begins as if the chunk were full."""
    score_start = span.start + chunk * chunk_tokens
    end = min(score_start + chunk_tokens, span.end)
    full_end = score_start + chunk_tokens
    return ChunkWindow(max(span.start, min(full_end - context_length, score_start)), score_start, end)


class Uniform:
    """Every token is as likely as any other. A Scorer need not be a network."""

    name, vocab_size, bos_id, adapts, wanted_targets = "uniform", 384, 1, False, 0
    probability_sums: tuple[float, ...] = ()

    def score(self, tokens, on_scored):
        nats = np.full(len(tokens) - 1, np.log(self.vocab_size))
        on_scored(len(nats), float(nats.sum()))
        return nats

    def sizes(self, tokens):
        return np.zeros(len(tokens) - 1, dtype=np.int64)

    def decoded_bytes(self, document):
        return 0

    def comparable_targets(self, num_targets):
        return 0

    def trials(self):
        return (Trial(score=self.score, moves_documents=True),)


def opens_things(request):
    """For the clean process: reads a training shard and a file of answers, opens a socket, starts a program."""
    data = Path(request["data"])
    next(data.glob("*train_*.bin")).read_bytes()
    (data.parent / "answers.json").read_text()
    socket.socket(socket.AF_INET, socket.SOCK_STREAM).close()
    subprocess.run(["true"], check=True)
    return Uniform()
