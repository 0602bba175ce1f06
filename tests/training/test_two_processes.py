"""Two processes compute what one does: training, evaluation, test-time training, in float64
where rounding would tell."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from processes import in_processes

from golfpipe.adapt import cosine, score_first_lora, score_first_sgd
from golfpipe.adapt.cosine import CosineRecipe
from golfpipe.adapt.method import Work
from golfpipe.adapt.score_first_lora import LoraRecipe
from golfpipe.adapt.score_first_sgd import SgdRecipe
from golfpipe.errors import ConfigError
from golfpipe.model.config import ModelConfig
from golfpipe.model.network import build_network, initialize
from golfpipe.optim.config import OptimConfig
from golfpipe.optim.process_group import ALONE, ProcessGroup
from golfpipe.scoring.config import EvaluateConfig
from golfpipe.scoring.score import score_windows
from golfpipe.scoring.windows import batch_windows, plan_windows
from golfpipe.training.config import TrainConfig
from golfpipe.training.token_stream import TokenStream
from golfpipe.training.trainer import Trainer, sequences_of_each

CPU = torch.device("cpu")
MODEL = ModelConfig(
    vocab_size=40, num_layers=3, model_dim=16, num_heads=2, num_kv_heads=1, mlp_ratio=2.0, bigram_buckets=9,
    bigram_dim=4, trigram_buckets=7, trigram_dim=4, bos_id=1, mask_document_boundaries=True,
)  # fmt: skip
TRAIN = TrainConfig(
    max_steps=50, batch_tokens=64, context_length=8, warmdown_steps=20, warmdown_fraction=1.0, ema_decay=0.9,
    qat_start=1.0, checkpoint_every=0, validate_every=0, micro_batch_sequences=2,
    context_growth=((0.4, 4),),
)  # fmt: skip
TOKENS = np.random.default_rng(0).integers(1, 40, 400).astype(np.uint16)
EVALUATE = EvaluateConfig(context_length=16, stride=4, batch_tokens=48)


def new_network(seed=0):
    network = build_network(MODEL, torch.float64)
    initialize(network, seed)
    return network.double()


def train(group, config=TRAIN):
    trainer = Trainer(new_network(), TokenStream([TOKENS]), config, OptimConfig(), CPU, processes=group)
    losses = [trainer.step().loss.item() for _ in range(config.max_steps)]
    return losses, {name: parameter.detach().numpy() for name, parameter in trainer.network.named_parameters()}


def evaluate(group, network):
    nats = np.full(len(TOKENS) - 1, np.nan, dtype=np.float32)
    batches = batch_windows(plan_windows(len(nats), EVALUATE), EVALUATE.batch_tokens)
    score_windows(network.last_nats, TOKENS, group.share(batches), nats, CPU)
    group.merge(nats)
    return nats


def adapt(group):
    losses = []

    def work(network):
        return Work(
            network=network, tokens=TOKENS, bos_id=1, windows=EVALUATE, seed=0, device=CPU, processes=group,
            on_epoch=lambda *epoch: losses.append(epoch[1]),
        )  # fmt: skip

    lora = LoraRecipe(chunk_tokens=8, context_length=16, batch_documents=3, epochs=1)
    warm = replace(lora, warm_queues=3, batch_documents=2, projections=("value", "output", "head"))
    sgd = SgdRecipe(chunk_tokens=100, context_length=16, batch_sequences=3, epochs=2, lr=0.1)
    scored = {
        "lora": score_first_lora.METHOD.run(work(new_network()), lora),
        "warm": score_first_lora.METHOD.run(work(new_network()), warm),
        "bounded": score_first_lora.METHOD.run(work(new_network()), replace(lora, max_seconds=1e4)),
        "sgd": score_first_sgd.METHOD.run(work(new_network()), sgd),
    }
    network = new_network()
    cosine.METHOD.run(work(network), CosineRecipe(epochs=2, context_length=16, batch_sequences=4, lr=1e-2))
    return scored | {"cosine": np.array(losses), "adapted": evaluate(group, network)}


def everything(group):
    """What runs in each process, and once alone."""
    losses, weights = train(group)
    return {
        "losses": losses,
        "weights": weights,
        "quantized": train(group, replace(TRAIN, qat_start=0.0, qat_refresh_steps=5, max_steps=10))[0],
        "nats": evaluate(group, new_network()),
        "adapted": adapt(group),
        "largest": group.largest(group.rank),
        "first": group.first(3.5 + group.rank),
    }


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return everything(ALONE), in_processes(everything, tmp_path_factory.mktemp("processes"))


def test_fifty_steps_lose_what_one_process_loses(results):
    alone, together = results
    assert alone["losses"][-1] < alone["losses"][0]
    for process in together:
        assert np.abs(np.array(process["losses"]) - alone["losses"]).max() < 1e-9
        assert np.abs(np.array(process["quantized"]) - alone["quantized"]).max() < 1e-9
        for name, weight in alone["weights"].items():
            assert np.abs(process["weights"][name] - weight).max() < 1e-9, name
    assert np.array_equal(together[0]["losses"], together[1]["losses"])
    assert all(np.array_equal(w, together[1]["weights"][name]) for name, w in together[0]["weights"].items())


def test_scores_are_those_of_one_process_to_the_last_bit(results):
    alone, together = results
    for process in together:
        assert np.array_equal(process["nats"], alone["nats"])
        for name in ("lora", "warm", "bounded"):
            assert np.array_equal(process["adapted"][name], alone["adapted"][name]), name
    assert not np.allclose(alone["adapted"]["warm"], alone["adapted"]["lora"], rtol=0, atol=1e-4)


def test_adapted_scores_are_those_of_one_process(results):
    alone, together = results
    for process in together:
        for name in ("sgd", "cosine", "adapted"):
            assert np.abs(process["adapted"][name] - alone["adapted"][name]).max() < 1e-6, name  # kept in fp32
    before, after = alone["nats"].mean(), alone["adapted"]["adapted"].mean()
    assert after < before - 0.01  # it did learn


def test_processes_agree_on_clock_and_signal(results):
    _, together = results
    assert [process["largest"] for process in together] == [1, 1]
    assert [process["first"] for process in together] == [3.5, 3.5]


def test_a_batch_that_does_not_divide_is_refused():
    with pytest.raises(ConfigError, match="16 sequences of 4 tokens, which 3 processes"):
        sequences_of_each(TRAIN, ProcessGroup(0, 3))
