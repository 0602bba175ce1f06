from dataclasses import replace

import pytest
import torch

from golfpipe.errors import ConfigError
from golfpipe.model.config import ModelConfig
from golfpipe.model.network import build_network
from golfpipe.optim.config import OptimConfig
from golfpipe.optim.groups import build_optimizers, group_parameters, set_lr_factor, set_momentum
from golfpipe.optim.muon import Muon

SMALL = ModelConfig(
    vocab_size=20, num_layers=2, model_dim=16, num_heads=2, num_kv_heads=1, bigram_buckets=9, bigram_dim=4,
    trigram_buckets=7, trigram_dim=4,
)  # fmt: skip


@pytest.mark.parametrize("config", [SMALL, replace(SMALL, tied_embeddings=False, kv_sharing="none", bigram_buckets=0)])
def test_every_parameter_is_in_exactly_one_optimizer_group(config):
    network = build_network(config)
    optimizers = build_optimizers(network, OptimConfig(), torch.float32)
    counts = {id(parameter): 0 for parameter in network.parameters()}
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                counts[id(parameter)] += 1
    assert set(counts.values()) == {1}


def test_groups_follow_the_roles():
    groups = group_parameters(build_network(SMALL))
    assert "trigram.table.weight" in groups["embed"] and "token_embedding.weight" in groups["embed"]
    assert "trigram.projection.weight" in groups["matrix"] and "kv_projections.0.key.weight" in groups["matrix"]
    assert {"skip_weights", "blocks.0.residual_mix", "smear.gate", "bigram.scale"} <= groups["scalar"].keys()
    assert all(parameter.ndim == 2 for parameter in groups["matrix"].values())


OWN_DECAYS = [{}, {"embed_weight_decay": 0.3}, {"embed_weight_decay": 0.0, "scalar_weight_decay": 0.7}]


@pytest.mark.parametrize("own", OWN_DECAYS)
def test_without_gradients_weights_shrink_by_the_decay_of_their_group(own):
    config = OptimConfig(weight_decay=0.1, **own)
    network = build_network(SMALL).double()
    groups = group_parameters(network)
    decays = {"matrix": 0.1, "embed": own.get("embed_weight_decay", 0.1), "scalar": own.get("scalar_weight_decay", 0.1)}
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    optimizers = build_optimizers(network, config, torch.float64)
    set_lr_factor(optimizers, 0.5)
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    for optimizer in optimizers:
        optimizer.step()
    for group, peak in (("matrix", config.matrix_lr), ("embed", config.embed_lr), ("scalar", config.scalar_lr)):
        for name, parameter in groups[group].items():
            torch.testing.assert_close(parameter.detach(), before[name] * (1 - 0.5 * peak * decays[group]))


@pytest.mark.parametrize("key", ["embed_weight_decay", "scalar_weight_decay"])
def test_decays_are_not_negative(key):
    with pytest.raises(ConfigError, match=f"optim.{key}=-0.1 must not be negative"):
        OptimConfig(**{key: -0.1})


def test_learning_rates_and_momentum_reach_their_groups():
    optimizers = build_optimizers(build_network(SMALL), OptimConfig(), torch.float32)
    set_lr_factor(optimizers, 0.5)
    set_momentum(optimizers, 0.93)
    rates = [group["lr"] for optimizer in optimizers for group in optimizer.param_groups]
    assert rates == pytest.approx([0.01, 0.015, 0.01])
    assert isinstance(optimizers[0], Muon) and optimizers[0].param_groups[0]["momentum"] == 0.93
    assert all("momentum" not in group for group in optimizers[1].param_groups)
