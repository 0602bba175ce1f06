import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from plain_network import plain_logits

from golfpipe.model.config import LastLayers, LoopedLayers, ModelConfig, parameter_shapes
from golfpipe.model.network import build_network, initialize

SMALL = ModelConfig(
    vocab_size=50, num_layers=4, model_dim=32, num_heads=4, num_kv_heads=2, mlp_ratio=1.5, rope_fraction=0.5,
    bigram_buckets=17, bigram_dim=8, trigram_buckets=13, trigram_dim=4,
)  # fmt: skip

VARIANTS = {
    "shared": SMALL,
    "own-kv": replace(SMALL, kv_sharing="none"),
    "last-2": replace(SMALL, kv_sharing=LastLayers(last=2)),
    "odd-depth": replace(SMALL, num_layers=3, kv_sharing="none"),
    "one-layer": replace(SMALL, num_layers=1),
    "crossing-documents": replace(SMALL, mask_document_boundaries=False),
    "exclusive": replace(SMALL, exclusive_attention="all"),
    "exclusive-last": replace(SMALL, exclusive_attention=LastLayers(last=1)),
    "relu": replace(SMALL, leaky_slope=0.0),
    "no-rotation": replace(SMALL, rope_fraction=0.0),
    "full-rotation": replace(SMALL, rope_fraction=1.0),
    "no-ngrams": replace(SMALL, bigram_buckets=0, trigram_buckets=0),
    "multi-head": replace(SMALL, num_kv_heads=4),
    "looped": replace(SMALL, loop=LoopedLayers(first=1, last=2, passes=3)),
    "looped-to-the-end": replace(SMALL, loop=LoopedLayers(first=3, last=3, passes=2), kv_sharing="none"),
    "parallel": replace(SMALL, parallel_residual="all"),
    "documents": replace(SMALL, document_attention=True),
    "depth-scale": replace(SMALL, depth_scale=True),
    "all-switches": replace(
        SMALL, loop=LoopedLayers(first=0, last=2, passes=2), parallel_residual=LastLayers(last=2),
        document_attention=True, depth_scale=True, kv_sharing=LastLayers(last=2), exclusive_attention="all",
    ),
}  # fmt: skip
LOOPED = [name for name, config in VARIANTS.items() if config.loop != "none"]


def random_network(config, seed=0):
    """Every weight random, so that nothing hides behind a zero or a one."""
    network = build_network(config)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(0, 0.4, generator=generator)
    return network.eval()


def tokens_with_boundaries(length=23, seed=1):
    tokens = np.random.default_rng(seed).integers(2, 50, length)
    tokens[[0, 7, 8, 15]] = 1
    return tokens


@pytest.mark.parametrize("config", VARIANTS.values(), ids=VARIANTS.keys())
def test_network_equals_the_formulas_in_float64(config):
    network = random_network(config)
    tokens = tokens_with_boundaries()
    with torch.no_grad():
        found = network.logits(network.hidden(torch.from_numpy(tokens)[None]))[0].numpy()
    weights = {name: p.detach().double().numpy() for name, p in network.named_parameters()}
    np.testing.assert_allclose(found, plain_logits(config, weights, list(tokens)), rtol=0, atol=2e-4)


@pytest.mark.parametrize("name", LOOPED)
def test_before_the_loops_begin_every_layer_runs_once(name):
    config = VARIANTS[name]
    network, tokens = random_network(config), tokens_with_boundaries()
    with torch.no_grad():
        found = network.logits(network.hidden(torch.from_numpy(tokens)[None], looping=False))[0].numpy()
    weights = {name: p.detach().double().numpy() for name, p in network.named_parameters()}
    np.testing.assert_allclose(found, plain_logits(config, weights, list(tokens), False), rtol=0, atol=2e-4)
    shorter = replace(config, loop="none")
    weights["skip_weights"] = weights["skip_weights"][: shorter.num_skips]
    np.testing.assert_allclose(found, plain_logits(shorter, weights, list(tokens)), rtol=0, atol=2e-4)


def test_loss_is_the_mean_cross_entropy_of_the_formulas():
    network = random_network(SMALL)
    tokens = tokens_with_boundaries()
    weights = {name: p.detach().double().numpy() for name, p in network.named_parameters()}
    logits = plain_logits(SMALL, weights, list(tokens[:-1]))
    nats = np.log(np.exp(logits).sum(1)) - logits[np.arange(len(tokens) - 1), tokens[1:]]
    run = torch.from_numpy(tokens)[None]
    assert network(run[:, :-1], run[:, 1:]).item() == pytest.approx(nats.mean(), abs=1e-5)


@pytest.mark.parametrize(
    "name", ["shared", "exclusive", "crossing-documents", "own-kv", "looped", "parallel", "documents", "depth-scale"]
)
def test_a_later_token_changes_no_earlier_score(name):
    network = random_network(VARIANTS[name])
    tokens = torch.from_numpy(tokens_with_boundaries())[None]
    with torch.no_grad():
        before = network.hidden(tokens)
        for cut in (1, 5, 8, 22):
            changed = tokens.clone()
            changed[:, cut:] = (changed[:, cut:] + 13) % 50
            assert torch.equal(network.hidden(changed)[:, :cut], before[:, :cut])
            assert not torch.equal(network.hidden(changed)[:, cut:], before[:, cut:])


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("last", [1, 5, 23])
def test_the_last_positions_alone_equal_those_of_the_whole_pass(name, last):
    network = random_network(VARIANTS[name]).double()
    network.compute_dtype = torch.float64
    tokens = torch.from_numpy(tokens_with_boundaries())[None].repeat(2, 1)
    tokens[1] = (tokens[1] + 7) % 50
    with torch.no_grad():
        whole, part = network.hidden(tokens), network.hidden(tokens, last=last)
    # Norms are computed in fp32, everything else here in float64.
    torch.testing.assert_close(part, whole[:, -last:], rtol=0, atol=1e-12)


def test_documents_do_not_reach_hash_and_smear_of_the_next_one():
    masked, crossing = random_network(SMALL), random_network(VARIANTS["crossing-documents"])
    tokens = torch.tensor([[1, 5, 6, 7, 1, 9, 10, 11]])
    other = torch.tensor([[1, 15, 16, 17, 1, 9, 10, 11]])

    def embedded(network, ids):
        x = network.token_embedding(ids) + network.bigram(ids, torch.float32) + network.trigram(ids, torch.float32)
        return network.smear(x, ids)[:, 4:]

    assert torch.equal(embedded(masked, tokens), embedded(masked, other))
    assert not torch.equal(embedded(crossing, tokens), embedded(crossing, other))


@pytest.mark.parametrize("config", [*VARIANTS.values(), replace(SMALL, tied_embeddings=False)])
def test_parameter_names_and_shapes_are_those_listed(config):
    found = {name: tuple(p.shape) for name, p in build_network(config).named_parameters()}
    assert found == parameter_shapes(config)


@pytest.mark.parametrize("looping", [True, False])
def test_documents_know_nothing_of_each_other(looping):
    network = random_network(VARIANTS["all-switches"])
    both = torch.tensor([[5, 6, 7, 1, 9, 10, 11, 1, 20]])
    with torch.no_grad():
        together = network.hidden(both, looping=looping)
        for start, end in ((0, 3), (3, 7), (7, 9)):
            alone = network.hidden(both[:, start:end], looping=looping)
            torch.testing.assert_close(together[:, start:end], alone, rtol=0, atol=1e-4)
            other = both.clone()
            other[:, :start] = torch.where(both[:, :start] == 1, 1, 30)
            other[:, end:] = 31
            assert torch.equal(network.hidden(other, looping=looping)[:, start:end], together[:, start:end])


@pytest.mark.parametrize("width", [1, 16, 64])
def test_table_and_projection_are_never_both_zero_and_both_learn(width):
    config = replace(SMALL, bigram_dim=width, trigram_dim=width)
    network = build_network(config)
    initialize(network, seed=0)
    run = torch.from_numpy(tokens_with_boundaries(64))[None]
    optimizer = torch.optim.SGD(network.parameters(), lr=1.0)
    for _ in range(3):  # outputs of the blocks start at zero, so gradients need a step to reach everything
        optimizer.zero_grad()
        network(run[:, :-1], run[:, 1:]).backward()
        optimizer.step()
    for table in (network.bigram, network.trigram):
        assert table.projection.weight.abs().max() > 0
        assert table.table.weight.abs().max() > 0
        assert table.projection.weight.grad.abs().max() > 0


def test_initial_weights_follow_the_spec():
    config = replace(SMALL, vocab_size=2000, model_dim=64)
    network = build_network(config)
    initialize(network, seed=3)
    weights = dict(network.named_parameters())
    assert weights["token_embedding.weight"].std().item() == pytest.approx(0.005, rel=0.02)
    for name in ("bigram.table.weight", "blocks.1.attention.output.weight", "blocks.0.mlp.output.weight"):
        assert weights[name].abs().max() == 0
    query = weights["blocks.2.attention.query.weight"]
    torch.testing.assert_close(query @ query.T, torch.eye(64), rtol=0, atol=1e-5)
    projection = weights["bigram.projection.weight"]
    torch.testing.assert_close(projection.T @ projection, torch.eye(8) / (2 * config.num_layers), rtol=0, atol=1e-5)
    assert weights["bigram.scale"].item() == pytest.approx(0.05)
    assert weights["blocks.0.attention.qk_gain"].tolist() == [1.5] * 4
    assert weights["blocks.0.residual_mix"][0].eq(1).all() and weights["blocks.0.residual_mix"][1].eq(0).all()


def test_initial_weights_depend_on_the_seed_alone():
    networks = [build_network(SMALL) for _ in range(3)]
    for network, seed in zip(networks, (1, 1, 2), strict=True):
        torch.manual_seed(seed * 7 + id(network) % 100)
        initialize(network, seed)
    same = [torch.equal(p, q) for p, q in zip(networks[0].parameters(), networks[1].parameters(), strict=True)]
    assert all(same)
    assert not torch.equal(networks[0].token_embedding.weight, networks[2].token_embedding.weight)


def test_bf16_activations_stay_close_to_fp32():
    network = random_network(SMALL)
    tokens = torch.from_numpy(tokens_with_boundaries())[None]
    with torch.no_grad():
        exact = network.logits(network.hidden(tokens))
        network.compute_dtype = torch.bfloat16
        rough = network.logits(network.hidden(tokens))
    assert rough.dtype == torch.float32
    assert (rough - exact).abs().mean() < 0.05 * exact.abs().mean()


def test_probabilities_over_the_vocabulary_sum_to_one():
    network = random_network(SMALL)
    tokens = torch.from_numpy(tokens_with_boundaries())[None]
    with torch.no_grad():
        logits = network.logits(network.hidden(tokens))
    assert logits.abs().max() <= SMALL.logit_softcap
    nats = torch.stack([network.nats(network.hidden(tokens)[0], torch.full((23,), v)) for v in range(50)])
    assert torch.allclose((-nats).exp().sum(0), torch.ones(23), atol=1e-5)
    assert math.isfinite(nats.sum().item())


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # from inside the compiler
def test_the_network_is_one_graph_for_the_compiler():
    network = random_network(VARIANTS["all-switches"])
    run = torch.from_numpy(tokens_with_boundaries(33))[None]
    compiled = torch.compile(network, fullgraph=True, dynamic=False, backend="aot_eager")
    losses = []
    for function in (network, compiled):
        network.zero_grad()
        loss = function(run[:, :-1], run[:, 1:])
        loss.backward()
        losses.append((loss.item(), {name: p.grad.clone() for name, p in network.named_parameters()}))
    assert losses[0][0] == pytest.approx(losses[1][0], rel=1e-6)
    for name, grad in losses[0][1].items():
        torch.testing.assert_close(grad, losses[1][1][name], rtol=1e-4, atol=1e-6, msg=name)
