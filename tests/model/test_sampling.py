"""Drawing tokens: the distribution is what was asked for, and the draws repeat."""

from __future__ import annotations

import pytest
import torch

from golfpipe.model.config import ModelConfig
from golfpipe.model.network import Network, build_network, initialize
from golfpipe.model.sampling import sample_tokens, sampling_probabilities

LOGITS = torch.tensor([1.0, 3.0, 2.0, 2.0, -1.0])


def test_temperature_and_top_k() -> None:
    torch.testing.assert_close(sampling_probabilities(LOGITS, 1.0, 0), LOGITS.softmax(0))
    torch.testing.assert_close(sampling_probabilities(LOGITS, 0.5, 0), (LOGITS * 2).softmax(0))
    assert sampling_probabilities(LOGITS, 0.0, 3).tolist() == [0, 1, 0, 0, 0]
    assert sampling_probabilities(LOGITS, 1.0, 1).tolist() == [0, 1, 0, 0, 0]
    assert (sampling_probabilities(LOGITS, 1.0, 2) > 0).tolist() == [False, True, True, True, False]  # a tie
    assert torch.equal(sampling_probabilities(LOGITS, 1.0, 99), sampling_probabilities(LOGITS, 1.0, 0))


@pytest.fixture(scope="module")
def network() -> Network:
    config = ModelConfig(
        vocab_size=64, num_layers=2, model_dim=32, num_heads=2, num_kv_heads=1, bigram_buckets=16, bigram_dim=8,
        trigram_buckets=0,
    )  # fmt: skip
    network = build_network(config)
    initialize(network, 0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    return network.eval()


def _draw(network: Network, **more: object) -> list[int]:
    settings = {"count": 40, "temperature": 1.0, "top_k": 0, "context_length": 16, "seed": 3} | more
    return list(sample_tokens(network, [1, 5, 9], **settings))  # type: ignore[arg-type]


def test_draws_repeat_and_follow_the_seed(network: Network) -> None:
    assert _draw(network) == _draw(network) != _draw(network, seed=4)
    assert len(_draw(network)) == 40
    assert _draw(network, count=10) == _draw(network)[:10]


def test_greedy_is_the_argmax_of_the_window(network: Network) -> None:
    drawn = _draw(network, temperature=0.0, count=20)
    tokens = [1, 5, 9]
    for token in drawn:
        with torch.no_grad():
            assert token == int(network.logits(network.hidden(torch.tensor([tokens[-16:]])))[0, -1].argmax())
        tokens.append(token)


def test_banned_tokens_never_come(network: Network) -> None:
    banned = sorted(set(_draw(network)))[:8]
    assert not set(banned) & set(_draw(network, banned=banned, count=100))


def test_gradients_stay_possible_between_draws(network: Network) -> None:
    draws = sample_tokens(network, [1], count=3, temperature=1.0, top_k=0, context_length=8, seed=0)
    next(draws)
    assert torch.zeros(1, requires_grad=True).mul(2).requires_grad
