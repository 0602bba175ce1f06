"""The estimate of a design's bits per byte: a law that is linear in its coefficients, and what trainings change.

ln bpb = level + a ln(w N^-p + (1 - w) D^-q) + ... + coding loss, with N weights that are multiplied for a token and D
bytes of text, both as multiples of where the level is at home. This is the form of Kaplan et al. 2020 (arXiv
2001.08361, equation 1.5), in which more text gains little once the weights are too few, and the other way round. Every
coefficient begins as a normal distribution whose mean and width come from published or measured trainings
(docs/planning.md has their sources), so each estimate has an error from the start; measurements narrow both by Bayes'
rule for linear models (Bishop 2006, 3.3).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from golfpipe.model.config import ModelConfig, multiplied_weights, parameter_count

# Shapes: F features, N measurements

PRIOR: Mapping[str, tuple[float, float]] = {
    "level": (math.log(2.353), 0.3),
    "weights and text": (0.16, 0.03),
    "weights": (0.0, 0.01),
    "text": (0.0, 0.01),
    "vocabulary": (0.0, 0.01),
    "n-grams": (-0.06, 0.1),
    "depth": (0.0, 0.02),
    "coding": (1.3, 0.3),
}
"""Mean and standard deviation of each coefficient. `level` is ln bpb of preset tiny after 15 MB of FineWeb; a text of
another kind is off by its width, which all designs share. Weights, text and vocabulary alone are what the common term
may be wrong by."""
_WEIGHTS_SHARE, _WEIGHTS_POWER, _TEXT_POWER = 0.45, 0.6, 0.45
"""w, p and q, fitted to the trainings of benchmarks/frontier/law.py, and to what 24 times the text gained a model of 17
million weights."""
OTHER_DEVIATION = 0.01
"""The deviation of the effect of a setting that the law does not know, beside its first value; its mean is 0."""
MEASURED_DEVIATION = 0.004
"""The deviation of a measured ln bpb from the law: 0.002 are seeds (0.0056 bits per byte of 2.61)."""
_WEIGHTS, _TEXT, _TABLE, _NGRAMS = 792_576, 15e6, 131_072 / 661_504, 81_920 / 743_424
"""Where the level is at home: the weights that are multiplied, the text in bytes, the token table's values for each
weight of the body, and the n-gram tables' share of both."""


def coding_loss(bits: float, tokens_per_weight: float) -> float:
    """Return the share of the bits per byte that coding at so many bits a weight adds.

    0.347 exp(-1.7 b), calibrated trellis codes: measured on `tiny` with vocabularies of 1,024 to 8,192 at 1.6 to 4.4
    bits within 20 %, after 7 tokens a weight. It grows with the power 0.15 of the tokens a weight: scalar codes of 3.6
    bits cost 1.5 times as much after 109.
    """
    return 0.347 * math.exp(-1.7 * bits) * math.pow(max(1.0, tokens_per_weight / 7), 0.15)


def read_text(text: float, whole: float | None) -> float:
    """Return the bytes of text that a training of `text` bytes learns as much from when it reads `whole` bytes again
    and again: U + U R (1 - exp(-r / R)) with r repetitions and R = 15.4 (Muennighoff et al. 2023, arXiv 2305.16264)."""
    if whole is None or text <= whole:
        return text
    return whole * (1 + 15.4 * (1 - math.exp(-(text / whole - 1) / 15.4)))


def features(
    model: ModelConfig, *, bits: float, text: float, tokens: float, others: Sequence[str] = ()
) -> dict[str, float]:
    """Return the features of a design by name. `text`: the bytes of text that it learns from; `tokens`: those that it
    reads; `others`: settings that the law does not know, each with a coefficient of its own."""
    weights, table = multiplied_weights(model), model.vocab_size * model.model_dim
    body = weights - table
    ngrams = model.bigram_buckets * model.bigram_dim + model.trigram_buckets * model.trigram_dim
    n, d = weights / _WEIGHTS, max(text, 1.0) / _TEXT
    return {
        "level": 1.0,
        "weights and text": math.log(_WEIGHTS_SHARE * n**-_WEIGHTS_POWER + (1 - _WEIGHTS_SHARE) * d**-_TEXT_POWER),
        "weights": math.log(n),
        "text": math.log(d),
        "vocabulary": math.log1p(table / body) - math.log1p(_TABLE),
        "n-grams": math.log1p(ngrams / (body + ngrams)) - math.log1p(_NGRAMS),
        "depth": math.log(model.num_layers * 128 / (4 * model.model_dim)),
        "coding": coding_loss(bits, tokens / parameter_count(model)),
        **dict.fromkeys(others, 1.0),
    }


@dataclass(frozen=True)
class Law:
    """Coefficients as a normal distribution."""

    names: tuple[str, ...]
    mean_F: np.ndarray
    covariance_FF: np.ndarray

    def estimate(self, found: Mapping[str, float]) -> tuple[float, float]:
        """Return the bits per byte of these features and the standard deviation."""
        x_F = self.vector(found)
        bpb = math.exp(float(x_F @ self.mean_F))
        return bpb, bpb * math.sqrt(float(x_F @ self.covariance_FF @ x_F))

    def difference(self, found: Mapping[str, float], other: Mapping[str, float]) -> tuple[float, float]:
        """Return how many bits per byte the first has more than the other, and the standard deviation of that."""
        x_F = self.vector(found) - self.vector(other)
        bpb = self.estimate(other)[0]
        more = bpb * math.expm1(float(x_F @ self.mean_F))
        return more, bpb * math.sqrt(float(x_F @ self.covariance_FF @ x_F))

    def parts(self, found: Mapping[str, float], other: Mapping[str, float]) -> dict[str, float]:
        """Return what each feature adds to the difference, in bits per byte to first order."""
        x_F = (self.vector(found) - self.vector(other)) * self.mean_F
        return {name: float(part) * self.estimate(other)[0] for name, part in zip(self.names, x_F, strict=True)}

    def measured(self, found: Sequence[Mapping[str, float]], bpb: Sequence[float]) -> Law:
        """Return the law after trainings of these features gave these bits per byte."""
        if not found:
            return self
        x_NF, precision_FF = np.stack([self.vector(one) for one in found]), np.linalg.inv(self.covariance_FF)
        weight = MEASURED_DEVIATION**-2
        covariance_FF = np.linalg.inv(precision_FF + weight * x_NF.T @ x_NF)
        mean_F = covariance_FF @ (precision_FF @ self.mean_F + weight * x_NF.T @ np.log(bpb))
        return Law(self.names, mean_F, covariance_FF)

    def vector(self, found: Mapping[str, float]) -> np.ndarray:
        """Return the features [F] in the order of the coefficients."""
        return np.array([found.get(name, 0.0) for name in self.names])


def first_law(others: Sequence[str] = ()) -> Law:
    """Return the law before any measurement, with a coefficient for each of `others`."""
    prior = {**PRIOR, **dict.fromkeys(others, (0.0, OTHER_DEVIATION))}
    mean_F, deviation_F = (np.array(values) for values in zip(*prior.values(), strict=True))
    return Law(tuple(prior), mean_F, np.diag(deviation_F**2))
