import math

import numpy as np
import pytest
import torch

from golfpipe.model.config import ModelConfig
from golfpipe.model.network import build_network
from golfpipe.scoring.byte_table import build_byte_table, target_bytes
from golfpipe.scoring.config import EvaluateConfig
from golfpipe.scoring.score import score_windows, summarize, summarize_sample
from golfpipe.scoring.windows import batch_windows, gathered, moved_together, plan_windows, spread_windows
from golfpipe.training.token_stream import TokenStream

CPU = torch.device("cpu")
CONFIG = ModelConfig(
    vocab_size=30, num_layers=2, model_dim=16, num_heads=2, num_kv_heads=1, bigram_buckets=9, bigram_dim=4,
    trigram_buckets=7, trigram_dim=4,
)  # fmt: skip
TABLE = build_byte_table(
    ["<unk>", "<s>", "\u2581", *(f"\u2581p{i}" if i % 3 else f"q{i}" for i in range(27))],
    ["unknown", "control", *["normal"] * 28],
)


@pytest.fixture(scope="module")
def network():
    network = build_network(CONFIG)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(0, 0.3, generator=generator)
    return network.eval()


def text(length=97):
    tokens = np.random.default_rng(0).integers(2, 30, length).astype(np.uint16)
    tokens[[0, 20, 21, 60]] = 1
    return tokens


def scores(network, tokens, batch_tokens=64, **settings):
    config = EvaluateConfig(**({"context_length": 16, "stride": 4} | settings))
    nats = np.full(len(tokens) - 1, np.nan, dtype=np.float32)
    score_windows(network.last_nats, tokens, batch_windows(plan_windows(len(nats), config), batch_tokens), nats, CPU)
    return nats


@pytest.mark.parametrize(
    "settings", [{}, {"stride": 16}, {"stride": 5}, {"method": "chunked"}, {"context_length": 500}]
)
def test_each_target_is_scored_in_the_context_of_its_window(network, settings):
    tokens = text()
    found = scores(network, tokens, **settings)
    config = EvaluateConfig(**({"context_length": 16, "stride": 4} | settings))
    with torch.no_grad():
        for window in plan_windows(len(tokens) - 1, config):
            ids = torch.from_numpy(tokens[window.start : window.end].astype(np.int64))[None]
            logits = network.logits(network.hidden(ids))[0].double()
            for target in range(window.score_start, window.score_end):
                row = logits[target - window.start]
                expected = math.log(float(row.exp().sum())) - float(row[int(tokens[target + 1])])
                assert found[target] == pytest.approx(expected, abs=1e-4)


def test_scores_do_not_depend_on_later_tokens(network):
    tokens = text()
    before = scores(network, tokens)
    for cut in (5, 30, 61, 90):
        changed = tokens.copy()
        changed[cut:] = 2 + (changed[cut:] + 5) % 28
        assert np.array_equal(scores(network, changed)[: cut - 1], before[: cut - 1])


def test_summary_adds_up_and_splits_at_documents(network):
    tokens = text()
    nats = scores(network, tokens)
    score = summarize(tokens, nats, target_bytes(TABLE, tokens[:-1], tokens[1:]), bos_id=1)
    assert score.num_targets == len(nats)
    assert score.num_bytes == int(target_bytes(TABLE, tokens[:-1], tokens[1:]).sum())
    assert score.document_targets.tolist() == [20, 1, 39, 36]
    assert score.document_nats.sum() == pytest.approx(math.fsum(nats.tolist()), rel=1e-12)
    assert score.val_bpb == pytest.approx(math.fsum(nats.tolist()) / math.log(2) / score.num_bytes)
    assert score.val_loss_nats == pytest.approx(math.fsum(nats.tolist()) / len(nats))


@pytest.mark.parametrize("max_targets", [0, 5, 16, 40, 95, 96])
def test_a_sample_scores_as_the_same_windows_of_the_whole_text(network, max_targets):
    tokens = text()
    sizes = target_bytes(TABLE, tokens[:-1], tokens[1:])
    whole = scores(network, tokens, method="chunked")
    windows = spread_windows(len(whole), 16, max_targets)
    sample = gathered(TokenStream([tokens]), windows)
    nats = np.full(len(sample) - 1, np.nan, dtype=np.float32)
    score_windows(network.last_nats, sample, batch_windows(moved_together(windows), 64), nats, CPU)
    score = summarize_sample(nats, target_bytes(TABLE, sample[:-1], sample[1:]))
    targets = np.concatenate([np.arange(window.start, window.end) for window in windows])
    assert score.num_targets == len(targets)
    assert score.num_bytes == sizes[targets].sum()
    if max_targets != 5:  # a shorter window has another context
        assert score.val_loss_nats == pytest.approx(whole[targets].mean(dtype=np.float64), rel=1e-5)


def test_a_second_score_for_a_target_is_refused(network):
    tokens = text()
    nats = np.zeros(len(tokens) - 1, dtype=np.float32)
    with pytest.raises(AssertionError):
        score_windows(
            network.last_nats, tokens, batch_windows(plan_windows(len(nats), EvaluateConfig()), 64), nats, CPU
        )
