"""What adapters may be and how documents are taken, against a plain form: merged weights and hooks, one document at a
time, in float64."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from test_score_first import CONFIG as SHARED
from test_score_first import CPU, LORA, text, work

from golfpipe.adapt import score_first_lora
from golfpipe.adapt.config import TttConfig
from golfpipe.adapt.document_chunks import document_batches, documents_by_length
from golfpipe.adapt.lora import DocumentAdapters
from golfpipe.adapt.time_guard import MARGIN, TimeGuard
from golfpipe.config.schema import build_config
from golfpipe.errors import ConfigError
from golfpipe.model.network import build_network
from golfpipe.optim.process_group import ALONE, ProcessGroup

CONFIG = replace(SHARED, kv_sharing="none")
ALL = ("query", "key", "value", "output", "mlp", "head")
MERGED = {"query": "blocks.{}.attention.query.weight", "key": "kv_projections.{}.key.weight"}
MERGED["value"] = MERGED["key"].replace("key", "value")
FRESH = replace(LORA, projections=ALL, alpha=3.0, weight_decay=2.0, beta1=0.0, beta2=0.9)


def new_network(dtype=torch.float64):
    network = build_network(CONFIG, dtype)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(0, 0.3, generator=generator)
    return network.to(dtype)


def run(recipe, **hooks):
    return score_first_lora.METHOD.run(work(new_network(), text(), **hooks), recipe)


class PlainAdapters:
    """A pair of matrices for every map, as a map of its own: merged into weights where there is one to merge into."""

    def __init__(self, recipe):
        self.scale = (recipe.alpha or recipe.rank) / recipe.rank
        made = DocumentAdapters(CONFIG, 1, recipe.rank, 0, CPU, recipe.projections)
        self.pairs = {
            (name, layer): [side[name][0, layer].detach().clone().requires_grad_() for side in (made.down, made.up)]
            for name in made.down
            for layer in range(made.down[name].shape[1])
        }

    def product(self, name, layer):
        a, b = (side.double() for side in self.pairs[name, layer])
        return (a @ b) * self.scale

    def losses(self, ids, count):
        network = new_network()
        weights = dict(network.named_parameters())
        handles = []
        for name, layer in self.pairs:
            if name in MERGED:
                place = layer if name == "query" else CONFIG.kv_source[layer]
                key = MERGED[name].format(place)
                weights[key] = weights[key] + self.product(name, layer).T
            elif name != "head":
                block = network.blocks[layer]
                handles.append(self._hook(block.attention if name == "output" else block.mlp, name, layer))
        hidden = torch.func.functional_call(
            _Hidden(network), {f"network.{k}": w for k, w in weights.items()}, (ids[:, :-1],)
        )
        raw = hidden[0, -count:] @ network.head_VD.T
        if ("head", 0) in self.pairs:
            raw = raw + hidden[0, -count:] @ self.product("head", 0)
        capped = CONFIG.logit_softcap * torch.tanh(raw / CONFIG.logit_softcap)
        return capped.logsumexp(-1) - capped.gather(1, ids[0, -count:, None])[:, 0]

    def _hook(self, module, name, layer):
        return module.register_forward_hook(lambda _, given, made: made + given[0] @ self.product(name, layer))


class _Hidden(torch.nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, tokens):
        return self.network.hidden(tokens)


def adam(pair, state, grads, recipe):
    """Adam with decoupled decay, written out."""
    state["t"] = t = state.get("t", 0) + 1
    for side, grad in enumerate(grads):
        m, v = state.get(side, (0.0, 0.0))
        m, v = recipe.beta1 * m + (1 - recipe.beta1) * grad, recipe.beta2 * v + (1 - recipe.beta2) * grad**2
        state[side] = m, v
        with torch.no_grad():
            pair[side].mul_(1 - recipe.lr * recipe.weight_decay)
            pair[side].sub_(recipe.lr * (m / (1 - recipe.beta1**t)) / ((v / (1 - recipe.beta2**t)).sqrt() + 1e-10))


def plain(tokens, recipe):
    """Batches of the longest documents first; with queues, row r of one takes the first matrices of row r before."""
    nats, kept = np.full(len(tokens) - 1, np.nan), {}
    starts = [i for i in range(len(tokens) - 1) if i == 0 or tokens[i] == 1]
    spans = sorted(zip(starts, [*starts[1:], len(tokens) - 1], strict=True), key=lambda s: (s[0] - s[1], s[0]))
    chunk_of = lambda s: next((c for n, c in recipe.chunk_by_length if s[1] - s[0] <= n), recipe.chunk_tokens)  # noqa: E731
    batches = [
        group[i : i + recipe.batch_documents]
        for _, group in ((c, list(g)) for c, g in itertools.groupby(spans, chunk_of))
        for i in range(0, len(group), recipe.batch_documents)
    ]
    for number, batch in enumerate(batches):
        most = max(math.ceil((e - s) / chunk_of((s, e))) for s, e in batch)
        for row, (start, end) in enumerate(batch):
            adapters = PlainAdapters(recipe)
            slot = (number % recipe.warm_queues, row) if recipe.warm_queues else None
            for key, down in kept.get(slot, {}).items():
                adapters.pairs[key][0] = down.clone().requires_grad_()
            states, steps = {key: {} for key in adapters.pairs}, 0
            for chunk in range(start, end, chunk_of((start, end))):
                stop = min(chunk + chunk_of((start, end)), end)
                left = max(start, min(chunk + chunk_of((start, end)) - recipe.context_length, chunk))
                ids = torch.from_numpy(tokens[left : stop + 1].astype(np.int64))[None]
                for repeat in range(recipe.epochs):
                    losses = adapters.losses(ids, stop - chunk)
                    if repeat == 0:
                        nats[chunk:stop] = losses.detach()
                    if stop < end:
                        sides = [side for pair in adapters.pairs.values() for side in pair]
                        grads = torch.autograd.grad(losses.mean(), sides)
                        for key, a, b in zip(adapters.pairs, grads[::2], grads[1::2], strict=True):
                            adam(adapters.pairs[key], states[key], (a, b), recipe)
                        steps += 1
            for _ in range((most - 1) * recipe.epochs - steps):  # while longer documents of the batch go on
                for key, pair in adapters.pairs.items():
                    adam(pair, states[key], [torch.zeros_like(side) for side in pair], recipe)
            if slot:
                kept[slot] = {key: pair[0].detach() for key, pair in adapters.pairs.items()}
    return nats


@pytest.mark.parametrize(
    "recipe",
    [
        *(replace(LORA, projections=(name,)) for name in ALL),
        FRESH,
        replace(FRESH, epochs=2, chunk_by_length=((10, 3), (30, 6))),
        replace(FRESH, warm_queues=2, batch_documents=1, beta1=0.9),
        replace(FRESH, warm_queues=1, batch_documents=2, chunk_by_length=((10, 3),)),
    ],
    ids=[*ALL, "all", "chunks by length", "two warm queues", "a warm queue of pairs"],
)
def test_scores_equal_the_plain_form(recipe):
    np.testing.assert_allclose(run(recipe), plain(text(), recipe), rtol=0, atol=2e-5)


def test_each_option_changes_scores():
    before = run(FRESH)
    for change in (
        {"alpha": None}, {"weight_decay": 0.0}, {"beta1": 0.5}, {"warm_queues": 1, "batch_documents": 1},
        {"chunk_by_length": ((40, 5),)}, {"projections": ("query",)}, {"max_documents": 1},
    ):  # fmt: skip
        assert np.abs(run(replace(FRESH, **change)) - before).max() > 1e-3, change


def test_the_order_of_projections_does_not_matter_and_fresh_adapters_are_the_plain_network():
    assert np.array_equal(run(FRESH), run(replace(FRESH, projections=ALL[::-1])))
    with torch.no_grad():
        network = new_network(torch.float32)
        rows = torch.randint(2, 30, (3, 9), generator=torch.Generator().manual_seed(0))
        adapters = DocumentAdapters(CONFIG, 3, 2, 0, CPU, ALL)
        assert torch.equal(network.hidden(rows), network.hidden(rows, adapters.delta_from(0)))


def test_batches_have_one_chunk_length_and_the_order_is_that_of_scoring():
    recipe = replace(LORA, chunk_by_length=((8, 2), (30, 4)), batch_documents=2)
    spans = documents_by_length(text(), 1, longest_first=True)
    lengths = [span.length for span in spans]
    assert lengths == sorted(lengths, reverse=True) == [41, 30, 20, 8, 1]
    batches = document_batches(spans, 2, recipe.chunk_of)
    assert [[span.length for span in batch] for batch in batches] == [[41], [20, 30], [1, 8]]
    order = score_first_lora.METHOD.order(recipe, text(), 1)
    assert sorted(order) == list(range(100)) and order[:41].tolist() == list(range(39, 80))
    assert score_first_lora.METHOD.order(LORA, text(), 1).tolist() == list(range(100))


# ---- time ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("adapted", [0, 1, 3, 5])
def test_documents_beyond_the_most_are_scored_plainly(adapted):
    told = []
    recipe = replace(FRESH, batch_documents=1, max_documents=adapted)
    nats, whole = run(recipe, on_adapted=told.append), run(replace(FRESH, batch_documents=1, max_documents=5))
    frozen = run(replace(FRESH, batch_documents=1, lr=0.0, chunk_tokens=recipe.context_length))
    assert told == [adapted]
    for place, span in enumerate(documents_by_length(text(), 1, longest_first=True)):
        expected = whole if place < adapted else frozen
        np.testing.assert_allclose(nats[span.start : span.end], expected[span.start : span.end], rtol=0, atol=1e-6)


def clock(monkeypatch, seconds):
    """Every look at the clock takes so long."""
    ticks = itertools.count()
    monkeypatch.setattr("time.perf_counter", lambda: next(ticks) * seconds)


@pytest.mark.parametrize(("seconds", "adapted"), [(1e9, 5), (15.5, 4), (14.0, 0)])
def test_a_time_that_gets_short_does_less_and_its_number_repeats_it(monkeypatch, seconds, adapted):
    recipe, told = replace(FRESH, warm_queues=2, beta1=0.9, batch_documents=1), []
    clock(monkeypatch, 1.0)
    nats = run(replace(recipe, max_seconds=seconds), on_adapted=told.append)
    monkeypatch.undo()
    assert told == [adapted]
    assert np.array_equal(nats, run(replace(recipe, max_documents=adapted)))


def test_the_guard_expects_what_the_rate_says(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("golfpipe.adapt.time_guard.time.perf_counter", lambda: now[0])
    guard = TimeGuard(100.0, ALONE, lambda: 0.5 / MARGIN)
    assert guard.allows(0, 150, 50) and not guard.allows(0, 150, 51)
    now[0] = 60.0
    guard.measured(150, 60.0 / MARGIN)  # 0.4 a token, with 40 s left
    assert guard.allows(1, 80, 20) and not guard.allows(1, 80, 21)
    assert TimeGuard(0.0, ALONE, lambda: 1 / 0).allows(0, 10**9, 0)
    together = TimeGuard(1.0, ProcessGroup(1, 2), lambda: 1e9)
    assert together.allows(1, 1, 1), "between the batches that all begin together nobody is asked"


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("projections", [], r"projections=\[\] must name at least one"),
        ("projections", ["up"], "found 'up'"),
        ("warm_queues", 0, "warm_queues=0 must be null or at least 1"),
        ("beta2", 1.0, "beta2=1.0 must be less than 1"),
        ("alpha", -1.0, "alpha=-1.0 must be at least 0"),
        ("max_documents", -1, "max_documents=-1 must be at least 0"),
        ("chunk_by_length", [[20, 4], [10, 8]], "must be rising lengths"),
        ("chunk_by_length", [[20, 0]], "must be rising lengths"),
    ],
)
def test_wrong_options_are_named(key, value, message):
    with pytest.raises(ConfigError, match=message):
        build_config({"ttt": {"score_first_lora": {key: value}}})


def test_options_reach_the_recipe():
    section = {"projections": ["head", "key"], "alpha": 2.0, "chunk_by_length": [[256, 8]], "warm_queues": 3}
    recipe = build_config({"ttt": {"method": "score_first_lora", "score_first_lora": section}}).ttt.recipe()
    assert (recipe.projections, recipe.alpha, recipe.chunk_by_length) == (("head", "key"), 2.0, ((256, 8),))
    assert TttConfig(method="score_first_lora").recipe() == score_first_lora.LoraRecipe()
