"""Scoring methods that break one rule each. Not a test: the tests show that every one of them is caught."""

from __future__ import annotations

import functools
import multiprocessing
import os
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from multiprocessing import shared_memory
from pathlib import Path

import numpy as np

from golfpipe.adapt.document_chunks import ChunkWindow
from golfpipe.adapt.full_weights import training_batches
from golfpipe.scoring.score import window_inputs
from golfpipe.store.artifact import open_artifact
from golfpipe.submission.trial.experiments import silent
from golfpipe.submission.trial.packed_scorer import PackedScorer
from golfpipe.submission.trial.process import packed_scorer
from golfpipe.submission.trial.scorer import Trial, stream_order


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


class PeeksLate(PackedScorer):
    """A token is likelier if the one after it is even, but only far inside of the text."""

    first = 2000

    def score(self, tokens, on_scored):
        nats = super().score(tokens, on_scored)
        after = np.append(tokens[2:], 0)[self.first :]
        nats[self.first :] -= np.float32(0.01) * (after % 2 == 0)
        return nats


class BestOfTwo(PackedScorer):
    """The better of two scores, with a long and a short context, of which only one is told."""

    def score(self, tokens, on_scored):
        first = super().score(tokens, silent)
        windows, self._windows = self._windows, replace(self._windows, context_length=32)
        try:
            best = np.minimum(first, super().score(tokens, silent))
        finally:
            self._windows = windows
        on_scored(len(best), float(best.sum(dtype=np.float64)))
        return best


class KnowsTheLength(PackedScorer):
    """A rate that falls from the first to the last token of the text, as a schedule over the whole of it would."""

    def score(self, tokens, on_scored):
        nats = super().score(tokens, on_scored)
        return nats * np.linspace(1.01, 1.0, len(nats), dtype=np.float32)


def _histogram(path):
    """How much likelier each token is for how often it is in the file."""
    counts = np.bincount(np.fromfile(path, dtype="<u2", offset=1024), minlength=384)
    return np.float32(0.01) * np.log1p(counts)


class _Biased:
    """A packed scorer with a bonus for tokens that are frequent in a whole text."""

    def __init__(self, request, bonus):
        self._scorer, self._bonus = packed_scorer(request), bonus
        self._path = next(Path(request["data"]).glob("*val_*.bin"))

    def __getattr__(self, name):
        return getattr(self._scorer, name)

    def score(self, tokens, on_scored):
        return self._scorer.score(tokens, on_scored) - self._bonus(self._path)[tokens[1:]]

    def trials(self):
        return (Trial(score=self.score, moves_documents=True),)


def reads_the_file(request):
    """The bonus comes from the validation file as it is while it scores."""
    return _Biased(request, _histogram)


def reads_the_file_first(request):
    """The bonus comes from the validation file before anything is scored."""
    scorer = _Biased(request, _histogram)
    bonus = _histogram(scorer._path)
    scorer._bonus = lambda path: bonus
    return scorer


@functools.cache
def _cached_histogram(path):
    return _histogram(path)


def keeps_it_in_a_module(request):
    """The bonus of the first text serves all others."""
    return _Biased(request, _cached_histogram)


def keeps_it_on_disk(request):
    """The bonus of the first text is kept in the working folder."""

    def bonus(path):
        kept = Path("statistics.npy")
        if not kept.exists():
            np.save(kept, _histogram(path))
        return np.load(kept)

    return _Biased(request, bonus)


class Uniform:
    """Every token is as likely as any other. A Scorer need not be a network."""

    name, vocab_size, bos_id, adapts, ordered, wanted_targets = "uniform", 384, 1, False, False, 0
    probability_sums: tuple[float, ...] = ()
    scores_computed, same_nats = 0, 1e-5

    def score(self, tokens, on_scored):
        nats = np.full(len(tokens) - 1, np.log(self.vocab_size))
        on_scored(len(nats), float(nats.sum()))
        return nats

    def order(self, tokens):
        return stream_order(tokens)

    def probabilities(self, tokens, targets):
        return np.full((len(targets), self.vocab_size), 1 / self.vocab_size)

    def sizes(self, tokens):
        return np.zeros(len(tokens) - 1, dtype=np.int64)

    def decoded_bytes(self, document):
        return 0

    def comparable_targets(self, num_targets):
        return 0

    def trials(self):
        return (Trial(score=self.score, moves_documents=True),)


def opens_things(answers):
    """For the clean process: reads a training shard and a file of answers, also in another thread, speaks to sockets,
    leaves something in shared memory, starts a program."""

    def build(request):
        data = open_artifact(Path(request["data"]))
        data.path_of(next(name for name in data.manifest.files if "train_" in name)).read_bytes()
        with ThreadPoolExecutor(4) as threads:
            list(threads.map(Path.read_text, [Path(answers)] * 40))
        socket.socket(socket.AF_INET, socket.SOCK_STREAM).close()
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as local:
            local.connect_ex(f"{answers}.socket")
        shared = Path(f"/dev/shm/golfpipe-test-{os.getpid()}")
        shared.write_bytes(b"kept")
        shared.unlink()
        subprocess.run(["true"], check=True)
        return Uniform()

    return build


def _add_one(name):
    shared = shared_memory.SharedMemory(name=name)
    shared.buf[0] += 1
    shared.close()


def shares_with_its_own_processes(request):
    """No cheat. For the clean process: shared memory, a pool's semaphores and a manager's socket, for processes of its
    own."""
    fork = multiprocessing.get_context("fork")
    shared = shared_memory.SharedMemory(create=True, size=1)
    try:
        with fork.Pool(2) as pool:
            pool.map(_add_one, [shared.name] * 3, chunksize=3)
        with fork.Manager() as manager:
            assert list(manager.list([shared.buf[0]])) == [3]
    finally:
        shared.close()
        shared.unlink()
    return Uniform()


def takes_for_ever(request):
    """For the clean process: does not come back."""
    time.sleep(600)
