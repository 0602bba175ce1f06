import math

import numpy as np
import pytest
import torch
from test_score_first import new_network, text, work

from golfpipe.adapt.cosine import METHOD, CosineRecipe, lr_scale
from golfpipe.adapt.full_weights import cosine_factor, training_batches

RECIPE = CosineRecipe(epochs=3, lr=0.01, batch_sequences=2, context_length=16)


def adapt(network, recipe=RECIPE, tokens=None):
    epochs = []
    METHOD.run(work(network, text() if tokens is None else tokens, on_epoch=lambda *e: epochs.append(e)), recipe)
    return epochs


def test_steps_equal_plain_adamw_with_the_schedule_and_the_scales():
    network, plain = new_network(), new_network()
    epochs = adapt(network)
    tokens = text().astype(np.int64)
    moments = {name: (torch.zeros_like(p), torch.zeros_like(p)) for name, p in plain.named_parameters()}
    # 100 targets: three batches of 2 x 16, then the rest of 4.
    batches = [(0, 32), (32, 64), (64, 96), (96, 100)]
    step = 0
    for epoch in range(3):
        total = 0.0
        for start, end in batches:
            ids = torch.from_numpy(tokens[start : end + 1])
            shape = (-1, min(16, end - start))
            plain.zero_grad()
            loss = plain(ids[:-1].view(shape), ids[1:].view(shape))
            loss.backward()
            total += loss.item() * (end - start)
            norm = math.sqrt(sum(p.grad.square().sum().item() for p in plain.parameters()))
            factor = 0.5 * (1 + math.cos(math.pi * step / 12))
            step += 1
            with torch.no_grad():
                for name, p in plain.named_parameters():
                    grad = p.grad * min(1.0, 1.0 / (norm + 1e-6))
                    first, second = moments[name]
                    first.mul_(0.9).add_(0.1 * grad)
                    second.mul_(0.999).add_(0.001 * grad**2)
                    scale = 3.0 if "mlp.output" in name else 0.5 if "mlp.input" in name else 1.0
                    corrected = (second / (1 - 0.999**step)).sqrt() + 1e-8
                    p -= 0.01 * factor * scale * (first / (1 - 0.9**step)) / corrected
        assert epochs[epoch][:2] == (epoch + 1, pytest.approx(total / 100, rel=1e-3))
    for (name, found), expected in zip(network.named_parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=5e-3, msg=name)


def test_all_weights_move_and_the_loss_falls():
    network = new_network()
    before = {name: p.clone() for name, p in network.named_parameters()}
    epochs = adapt(network)
    moved = [name for name, p in network.named_parameters() if not torch.equal(before[name], p)]
    assert moved == list(before)
    assert epochs[-1][1] < epochs[0][1]


def test_learning_rates_of_the_mlp():
    assert lr_scale("blocks.3.mlp.output.weight", RECIPE) == 3.0
    assert lr_scale("blocks.3.mlp.input.weight", RECIPE) == 0.5
    assert lr_scale("blocks.3.attention.output.weight", RECIPE) == 1.0


def test_schedule_is_half_a_cosine():
    assert cosine_factor(0, 10) == 1.0
    assert cosine_factor(5, 10) == pytest.approx(0.5)
    assert cosine_factor(10, 10) == pytest.approx(0.0)


def test_batches_cover_the_targets_once():
    hits = np.zeros(120, dtype=int)
    for windows in training_batches(20, 117, 16, 2):
        for window in windows:
            hits[window.score_start : window.score_end] += 1
    assert hits[20:117].tolist() == [1] * 97 and hits.sum() == 97
