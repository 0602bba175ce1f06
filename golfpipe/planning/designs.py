"""Designs that fit a size and a time, ranked by the law's estimate."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from golfpipe.errors import UsageError
from golfpipe.model.config import ModelConfig
from golfpipe.pipeline.estimate import step_operations
from golfpipe.planning.candidates import Candidate, changed_settings
from golfpipe.planning.laws import Law, features, first_law, read_text
from golfpipe.planning.sizes import LEAST_BITS, MOST_BITS, bits_at, bytes_at
from golfpipe.planning.speeds import StepTimes
from golfpipe.sweeps.grid import Cell
from golfpipe.units import format_bytes, format_seconds

_BYTES_PER_TOKEN, _VOCABULARY, _GROWTH = 2.436, 1024, 0.2045
"""Bytes of text in a token, where no tokenizer was seen: those of the challenge's validation text with its tokenizers
of 1,024 and 8,192 pieces, 2.436 and 3.727, and the power of the vocabulary between them."""


_DRAWS = 4_000
"""Laws that are drawn to find the designs that could be the best."""

# Shapes: N designs, F features, K draws


@dataclass(frozen=True, kw_only=True)
class Task:
    """What a design must keep, and what it meets."""

    size: float
    """The bytes of the packed model at most."""
    seconds: float
    """The seconds of training."""
    times: StepTimes
    bytes_per_token: Mapping[tuple[int, str], float]
    """Of the vocabularies, each with its data.transform, whose tokens were counted."""
    text_bytes: float | None
    """The bytes of the text that there is to train on; None where it is not known."""


@dataclass(frozen=True, kw_only=True)
class Design:
    """A candidate with what it comes to."""

    settings: Cell
    model: ModelConfig
    batch_tokens: int
    bits: float
    """All-in bits a weight."""
    size: int
    """The bytes to solve for."""
    steps: int
    """The steps in the time."""
    bytes_per_token: float
    whole_text: float | None

    def text(self, share: float = 1.0) -> float:
        """Return the bytes of text that a training of this share of the steps reads."""
        return share * self.steps * self.batch_tokens * self.bytes_per_token

    def features(self, share: float = 1.0) -> dict[str, float]:
        """Return the law's features of a training of this share of the steps, packed."""
        read, tokens = read_text(self.text(share), self.whole_text), share * self.steps * self.batch_tokens
        others = changed_settings(self.settings)
        return features(self.model, bits=self.bits, text=read, tokens=tokens, others=others)


def bytes_per_token(vocabulary: int, transform: str, counted: Mapping[tuple[int, str], float]) -> float:
    """Return the bytes of text in a token: as counted, or scaled from the nearest vocabulary that was, among those of
    the same transform if there are any."""
    own = {size: value for (size, name), value in counted.items() if name == transform}
    known = own or {size: value for (size, _), value in counted.items()} or {_VOCABULARY: _BYTES_PER_TOKEN}
    nearest = min(known, key=lambda size: abs(math.log(size / vocabulary)))
    return float(known[nearest] * (vocabulary / nearest) ** _GROWTH)


def fitting_designs(found: Sequence[Candidate], task: Task) -> list[Design]:
    """Return the candidates that fit, with their bits and steps. Raises UsageError that names the smallest one, or the
    quickest of those that are small enough."""
    small = [sized for candidate in found if (sized := _sized(candidate, task)) is not None]
    if small:
        designs = [_design(*sized, task) for sized in small]
        if any(design.steps for design in designs):
            return [design for design in designs if design.steps]
        least_seconds = min(task.times.seconds(step_operations(candidate.config)) for candidate, *_ in small)
        raise UsageError(
            f"none of {len(small):,} designs of this size makes a step in {format_seconds(task.seconds)}",
            hint=f"the quickest step takes {format_seconds(least_seconds)}: more --seconds, a smaller"
            " train.batch_tokens, or other --hardware",
        )
    least, smallest = min(
        ((bytes_at(one.config.model, one.bits or LEAST_BITS), one) for one in found), key=lambda pair: pair[0]
    )
    model = smallest.config.model
    raise UsageError(
        f"none of {len(found):,} designs fits in {format_bytes(math.floor(task.size))}",
        hint=f"the smallest takes {format_bytes(least)} at {smallest.bits or LEAST_BITS:g} bits a weight (vocabulary"
        f" {model.vocab_size:,}, {model.num_layers} layers of width {model.model_dim}): --bytes {least}, or smaller"
        " designs by --preset or --vary width=32,48",
    )


def _sized(candidate: Candidate, task: Task) -> tuple[Candidate, int, float] | None:
    """Return the candidate with its bytes and its bits a weight; None where the bytes are too few for it."""
    model = candidate.config.model
    most = bytes_at(model, candidate.bits or MOST_BITS)
    size = min(math.floor(task.size), most)
    bits = bits_at(model, size)
    fits = bits >= LEAST_BITS and (candidate.bits is None or size == most)
    return (candidate, size, bits) if fits else None


def _design(candidate: Candidate, size: int, bits: float, task: Task) -> Design:
    model, train = candidate.config.model, candidate.config.train
    return Design(
        settings=candidate.settings,
        model=model,
        batch_tokens=train.batch_tokens,
        bits=bits,
        size=size,
        steps=math.floor(task.seconds / task.times.seconds(step_operations(candidate.config))),
        bytes_per_token=bytes_per_token(model.vocab_size, candidate.config.data.transform, task.bytes_per_token),
        whole_text=task.text_bytes,
    )


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """The score of a packed training of a share of a design's steps."""

    design: Design
    share: float
    bpb: float


@dataclass(frozen=True, kw_only=True)
class Ranked:
    """A design with its estimate."""

    design: Design
    bpb: float
    error: float
    """The standard deviation of the estimate, that of the level of all designs included."""
    behind: float
    """How much more it has than the first design."""
    behind_error: float


def law_of(designs: Sequence[Design], measurements: Sequence[Measurement]) -> Law:
    """Return the law after the measurements, with a coefficient for every setting that it does not know."""
    others = dict.fromkeys(text for design in designs for text in changed_settings(design.settings))
    found = [measurement.design.features(measurement.share) for measurement in measurements]
    return first_law(tuple(others)).measured(found, [measurement.bpb for measurement in measurements])


def most_promising(designs: Sequence[Design], law: Law, number: int) -> list[Design]:
    """Return the designs that are most often the best under laws drawn from the distribution of the coefficients, the
    likeliest first; where fewer than `number` ever are, those of the least estimates follow.

    So designs are tried that could be the best, not variants of the one that seems to be (Thompson 1933).
    """
    x_NF = np.stack([law.vector(design.features()) for design in designs])
    drawn_KF = np.random.default_rng(0).multivariate_normal(law.mean_F, law.covariance_FF, _DRAWS)
    wins = Counter((x_NF @ drawn_KF.T).argmin(axis=0).tolist())
    by_estimate = np.argsort(x_NF @ law.mean_F, kind="stable").tolist()
    order = [index for index, _ in wins.most_common()]
    return [designs[index] for index in dict.fromkeys([*order, *by_estimate])][:number]


def ranked(designs: Sequence[Design], law: Law) -> list[Ranked]:
    """Return the designs with the least estimate first."""
    order = sorted(designs, key=lambda design: law.estimate(design.features())[0])
    first = order[0].features()
    return [
        Ranked(
            design=design,
            bpb=law.estimate(design.features())[0],
            error=law.estimate(design.features())[1],
            behind=law.difference(design.features(), first)[0],
            behind_error=law.difference(design.features(), first)[1],
        )
        for design in order
    ]
