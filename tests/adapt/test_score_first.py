"""Score-first methods against step-by-step re-derivations, and the law that later tokens change no earlier score."""

import math

import numpy as np
import pytest
import torch

from golfpipe.adapt import score_first_lora, score_first_sgd
from golfpipe.adapt.lora import DocumentAdapters
from golfpipe.adapt.method import Work
from golfpipe.adapt.score_first_lora import LoraRecipe
from golfpipe.adapt.score_first_sgd import SgdRecipe
from golfpipe.model.config import ModelConfig
from golfpipe.model.network import build_network
from golfpipe.optim.process_group import ALONE
from golfpipe.scoring.config import EvaluateConfig
from golfpipe.scoring.windows import sliding_windows

CPU = torch.device("cpu")
CONFIG = ModelConfig(
    vocab_size=30, num_layers=2, model_dim=16, num_heads=2, num_kv_heads=1, bigram_buckets=9, bigram_dim=4,
    trigram_buckets=7, trigram_dim=4,
)  # fmt: skip
LORA = LoraRecipe(chunk_tokens=8, context_length=20, rank=2, batch_documents=3, lr=0.02)
SGD = SgdRecipe(chunk_tokens=24, context_length=8, batch_sequences=2, lr=0.05, epochs=2)


def new_network():
    network = build_network(CONFIG)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(0, 0.3, generator=generator)
    return network.eval()


def text(length=101):
    tokens = np.random.default_rng(0).integers(2, 30, length).astype(np.uint16)
    tokens[[0, 30, 31, 39, 80]] = 1
    return tokens


def work(network, tokens, stride=5, **hooks):
    windows = EvaluateConfig(context_length=16, stride=stride, batch_tokens=64)
    return Work(network=network, tokens=tokens, bos_id=1, windows=windows, seed=0, device=CPU, processes=ALONE, **hooks)


def lora(tokens, recipe=LORA, network=None):
    return score_first_lora.METHOD.run(work(network or new_network(), tokens), recipe)


def sgd(tokens, recipe=SGD, stride=5):
    return score_first_sgd.METHOD.run(work(new_network(), tokens, stride), recipe)


def plain_lora(tokens, recipe):
    """One document at a time, no batches, plain loops over chunks."""
    nats = np.full(len(tokens) - 1, np.nan)
    starts = [i for i in range(len(tokens) - 1) if i == 0 or tokens[i] == 1]
    for start, end in zip(starts, [*starts[1:], len(tokens) - 1], strict=True):
        network = new_network().requires_grad_(False)
        adapters = DocumentAdapters(CONFIG, 1, recipe.rank, 0, CPU)
        optimizer = torch.optim.Adam(adapters.parameters(), lr=recipe.lr, betas=(0.9, 0.95), eps=1e-10)
        for chunk in range(start, end, recipe.chunk_tokens):
            stop = min(chunk + recipe.chunk_tokens, end)
            left = max(start, chunk + recipe.chunk_tokens - recipe.context_length)
            ids = torch.from_numpy(tokens[left : stop + 1].astype(np.int64))[None]
            for step in range(recipe.epochs):
                hidden = network.hidden(ids[:, :-1], adapters.delta_from(0))[0, chunk - left :]
                losses = network.nats(hidden, ids[0, 1 + chunk - left :])
                if step == 0:
                    nats[chunk:stop] = losses.detach()
                if stop < end:
                    optimizer.zero_grad()
                    losses.mean().backward()
                    optimizer.step()
    return nats


@pytest.mark.parametrize("epochs", [1, 2])
def test_lora_equals_one_document_at_a_time(epochs):
    recipe = LoraRecipe(chunk_tokens=8, context_length=20, rank=2, batch_documents=3, lr=0.02, epochs=epochs)
    np.testing.assert_allclose(lora(text(), recipe), plain_lora(text(), recipe), rtol=0, atol=2e-3)


def test_lora_scores_do_not_depend_on_the_batch():
    alone = lora(text(), LoraRecipe(chunk_tokens=8, context_length=20, rank=2, batch_documents=1, lr=0.02))
    np.testing.assert_allclose(lora(text()), alone, rtol=0, atol=2e-3)


def test_lora_leaves_the_network_alone_and_first_chunks_unadapted():
    network = new_network()
    before = {name: p.clone() for name, p in network.named_parameters()}
    nats = lora(text(), network=network)
    assert all(torch.equal(before[name], p) for name, p in network.named_parameters())
    ids = torch.from_numpy(text()[80:89].astype(np.int64))[None]
    with torch.no_grad():
        plain = network.nats(network.hidden(ids[:, :-1])[0], ids[0, 1:]).numpy()
    np.testing.assert_allclose(nats[80:88], plain, rtol=0, atol=1e-5)


def plain_sgd(tokens, recipe, stride):
    """Targets one by one, with a plain momentum update."""
    network, total = new_network(), len(tokens) - 1
    nats, momentum = np.full(total, np.nan), {}
    chunks = math.ceil(total / recipe.chunk_tokens)
    plan = list(sliding_windows(total, 16, stride))
    for chunk in range(chunks):
        first, last = chunk * recipe.chunk_tokens, (chunk + 1) * recipe.chunk_tokens
        for window in plan:
            if first <= window.score_start < last:
                ids = torch.from_numpy(tokens[window.start : window.end + 1].astype(np.int64))[None]
                with torch.no_grad():
                    losses = network.nats(network.hidden(ids[:, :-1])[0], ids[0, 1:])
                for target in range(window.score_start, window.score_end):
                    assert np.isnan(nats[target])
                    nats[target] = losses[target - window.start]
        if chunk == chunks - 1:
            break
        lr = recipe.lr * 0.5 * (1 + math.cos(math.pi * chunk / chunks))
        for _ in range(recipe.epochs):
            size = recipe.batch_sequences * recipe.context_length
            for start in range(first, last, size):
                ids = torch.from_numpy(tokens[start : min(start + size, last) + 1].astype(np.int64))
                inputs, targets = (part.view(-1, recipe.context_length) for part in (ids[:-1], ids[1:]))
                network.zero_grad()
                network(inputs, targets).backward()
                norm = math.sqrt(sum(p.grad.square().sum().item() for p in network.parameters()))
                scale = min(1.0, recipe.grad_clip / (norm + 1e-6))
                with torch.no_grad():
                    for name, p in network.named_parameters():
                        grad = p.grad * scale
                        momentum[name] = recipe.momentum * momentum[name] + grad if name in momentum else grad
                        p -= lr * momentum[name]
    return nats


@pytest.mark.parametrize("stride", [5, 16])
def test_sgd_equals_the_plain_form(stride):
    np.testing.assert_allclose(sgd(text(), stride=stride), plain_sgd(text(), SGD, stride), rtol=0, atol=2e-3)


@pytest.mark.parametrize("method", [lora, sgd])
def test_every_target_has_a_score_and_it_is_repeatable(method):
    nats = method(text())
    assert len(nats) == 100 and np.isfinite(nats).all()
    assert np.array_equal(nats, method(text()))


@pytest.mark.parametrize("method", [lora, sgd])
@pytest.mark.parametrize("cut", [4, 29, 33, 60, 95])
def test_later_tokens_change_no_earlier_score(method, cut):
    tokens = text()
    changed = tokens.copy()
    changed[cut:] = np.where(changed[cut:] == 1, 1, 2 + (changed[cut:] + 11) % 28)  # same documents, other text
    before, after = method(tokens), method(changed)
    np.testing.assert_allclose(after[: cut - 1], before[: cut - 1], rtol=0, atol=1e-5)
    assert not np.array_equal(after[cut - 1 :], before[cut - 1 :])


@pytest.mark.parametrize("cut", [41, 55, 62, 77])
def test_where_a_later_document_begins_changes_no_earlier_lora_score(cut):
    tokens = text()
    tokens[[30, 31, 39, 80]] = 5  # one document, longer than context_length
    changed = tokens.copy()
    changed[cut] = 1
    before, after = lora(tokens), lora(changed)
    np.testing.assert_allclose(after[: cut - 1], before[: cut - 1], rtol=0, atol=1e-5)


@pytest.mark.parametrize("method", [lora, sgd])
def test_adaptation_lowers_the_loss_of_repeated_text(method):
    phrase = np.random.default_rng(3).integers(2, 30, 8).astype(np.uint16)
    tokens = np.concatenate(([1], np.tile(phrase, 24))).astype(np.uint16)
    frozen = {
        lora: lora(tokens, LoraRecipe(chunk_tokens=8, context_length=20, rank=2, batch_documents=1, lr=0.0)),
        sgd: sgd(tokens, SgdRecipe(chunk_tokens=24, context_length=8, batch_sequences=2, lr=0.0)),
    }[method]
    assert method(tokens)[-48:].mean() < frozen[-48:].mean() - 0.05
