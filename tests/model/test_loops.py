"""A looped network is the longer one whose layers are copies: in logits, gradients, calibration and adapters."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from golfpipe.adapt import score_first_lora
from golfpipe.adapt.method import Work
from golfpipe.adapt.score_first_lora import LoraRecipe
from golfpipe.model.config import LastLayers, LoopedLayers, ModelConfig, forward_flops, multiplied_weights
from golfpipe.model.network import Network, build_network
from golfpipe.optim.process_group import ALONE
from golfpipe.quant.calibrator import Calibrator
from golfpipe.scoring.config import EvaluateConfig

CONFIG = ModelConfig(
    vocab_size=30, num_layers=4, model_dim=16, num_heads=2, num_kv_heads=1, bigram_buckets=9, bigram_dim=4,
    trigram_buckets=0, kv_sharing="none", loop=LoopedLayers(first=1, last=2, passes=3),
    parallel_residual=LastLayers(last=1), document_attention=True,
)  # fmt: skip
ORDER = (0, 1, 2, 1, 2, 1, 2, 3)


@pytest.fixture
def looped() -> Network:
    network = build_network(CONFIG)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(0, 0.3, generator=generator)
    return network.eval()


def original(name: str) -> str:
    """The looped network's name of a parameter of the unrolled one."""
    part, *rest = name.split(".")
    return ".".join((part, str(ORDER[int(rest[0])]), *rest[1:])) if part in ("blocks", "kv_projections") else name


@pytest.fixture
def unrolled(looped: Network) -> Network:
    network = build_network(replace(CONFIG, loop="none", num_layers=len(ORDER)))
    weights = looped.state_dict()
    network.load_state_dict({name: weights[original(name)].clone() for name, _ in network.named_parameters()})
    return network.eval()


@pytest.fixture
def tokens() -> torch.Tensor:
    ids = torch.randint(2, 30, (2, 24), generator=torch.Generator().manual_seed(1))
    ids[0, [0, 9]] = ids[1, 5] = 1
    return ids


def test_the_order_is_that_of_the_passes():
    assert CONFIG.layer_order() == ORDER
    assert CONFIG.layer_order(looping=False) == (0, 1, 2, 3)
    assert CONFIG.num_skips == 4
    record = replace(CONFIG, num_layers=11, loop=LoopedLayers(first=3, last=5, passes=3))
    assert record.layer_order() == (0, 1, 2, 3, 4, 5, 3, 4, 5, 3, 4, 5, 6, 7, 8, 9, 10)
    assert record.num_skips == 8


def test_work_is_counted_per_pass():
    longer = replace(CONFIG, loop="none", num_layers=len(ORDER))
    assert multiplied_weights(CONFIG) == multiplied_weights(longer)
    assert forward_flops(CONFIG, 64) == forward_flops(longer, 64)
    assert forward_flops(CONFIG, 64, looping=False) == forward_flops(replace(CONFIG, loop="none"), 64)


def test_logits_are_equal_and_gradients_add_up(looped, unrolled, tokens):
    losses = [network(tokens[:, :-1], tokens[:, 1:]) for network in (looped, unrolled)]
    assert torch.equal(*losses)
    for loss in losses:
        loss.backward()
    totals = {name: torch.zeros_like(p) for name, p in looped.named_parameters()}
    for name, parameter in unrolled.named_parameters():
        totals[original(name)] += parameter.grad
    for name, parameter in looped.named_parameters():
        torch.testing.assert_close(parameter.grad, totals[name], rtol=1e-4, atol=1e-6, msg=name)


def test_calibration_sums_over_the_passes(looped, unrolled, tokens):
    moments = []
    for network in (looped, unrolled):
        calibrator = Calibrator(network)
        with calibrator:
            logits = network.logits(network.hidden(tokens))
        calibrator.observe(logits)
        moments.append(calibrator.data().moments)
    totals = {name: torch.zeros_like(moment) for name, moment in moments[0].items()}
    for name, moment in moments[1].items():
        totals[original(name)] += moment
    for name, moment in moments[0].items():
        torch.testing.assert_close(moment, totals[name], msg=name)


def test_each_pass_has_adapters_of_its_own(looped, unrolled):
    text = np.random.default_rng(0).integers(2, 30, 80).astype(np.uint16)
    text[[0, 50]] = 1
    every = ("query", "key", "value", "output", "mlp", "head")
    recipe = LoraRecipe(chunk_tokens=8, context_length=20, rank=2, batch_documents=2, lr=0.02, projections=every)
    windows, cpu = EvaluateConfig(context_length=16, stride=4), torch.device("cpu")
    scores = [
        score_first_lora.METHOD.run(
            Work(network=network, tokens=text, bos_id=1, windows=windows, seed=0, device=cpu, processes=ALONE), recipe
        )
        for network in (looped, unrolled)
    ]
    np.testing.assert_array_equal(*scores)
