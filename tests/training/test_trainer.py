import itertools
import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from golfpipe.errors import ConfigError
from golfpipe.model.config import LoopedLayers, ModelConfig
from golfpipe.model.network import build_network, initialize
from golfpipe.optim.config import OptimConfig
from golfpipe.quant.clip_search import choose_scales
from golfpipe.quant.config import QuantPolicy, Rule
from golfpipe.quant.rows import dequantize, quantize
from golfpipe.training.config import TrainConfig
from golfpipe.training.replay import Replay
from golfpipe.training.token_stream import TokenStream
from golfpipe.training.trainer import Trainer, even_passes, tokens_per_pass

CPU = torch.device("cpu")
MODEL = ModelConfig(
    vocab_size=40, num_layers=2, model_dim=16, num_heads=2, num_kv_heads=1, mlp_ratio=2.0, bigram_buckets=9,
    bigram_dim=4, trigram_buckets=7, trigram_dim=4,
)  # fmt: skip
TRAIN = TrainConfig(
    max_steps=12, batch_tokens=64, context_length=8, warmdown_steps=5, warmdown_fraction=1.0, ema_decay=0.9,
    qat_refresh_steps=3, checkpoint_every=0, validate_every=0,
)  # fmt: skip


LOOPED = replace(MODEL, loop=LoopedLayers(first=1, last=1, passes=2))


def new_trainer(train=TRAIN, seed=0, model=MODEL, **options):
    network = build_network(model)
    initialize(network, seed)
    tokens = (np.arange(1000) * 7 % 40).astype(np.uint16)
    trainer = Trainer(network, TokenStream([tokens[:300], tokens[300:]]), train, OptimConfig(), CPU, **options)
    trainer.start_clock()
    return trainer


def run(trainer, steps):
    return [trainer.step().loss.item() for _ in range(steps)]


def weights(trainer):
    return {name: tensor.clone() for name, tensor in trainer.state_tensors().items()}


def assert_same(left, right):
    assert left.keys() == right.keys()
    assert all(torch.equal(left[name], right[name]) for name in left)


def test_loss_falls_and_the_same_seed_repeats_it():
    first, second, other = new_trainer(), new_trainer(), new_trainer(seed=1)
    losses = run(first, 12)
    assert losses[-1] < losses[0]
    assert losses == run(second, 12)
    assert_same(weights(first), weights(second))
    assert losses != run(other, 12)


@pytest.mark.parametrize("micro", [1, 2, 4])
def test_micro_batches_give_the_whole_batch_gradient(micro):
    whole, split = new_trainer(), new_trainer(replace(TRAIN, micro_batch_sequences=micro))
    whole.fake.refresh(dict(whole.network.named_parameters()))
    losses = [t._accumulate_gradients() for t in (whole, split)]
    torch.testing.assert_close(losses[0], losses[1])
    for a, b in zip(whole.network.parameters(), split.network.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-4, atol=1e-6)
    assert whole.stream.position == split.stream.position


@pytest.mark.parametrize(
    ("sequences", "length", "requested", "expected"),
    [(8, 8, 0, 8), (8, 8, 3, 2), (384, 2048, 0, 32), (7, 8, 4, 1), (4, 8, 100, 4)],
)
def test_micro_batches_divide_the_step(sequences, length, requested, expected):
    config = replace(TRAIN, context_length=length, batch_tokens=sequences * length, micro_batch_sequences=requested)
    assert even_passes(sequences, tokens_per_pass(config) // length) == expected


@pytest.mark.parametrize(("tokens", "expected"), [(131_072, 64), (65_536, 32), (5000, 2), (100, 1)])
def test_tokens_per_pass_bound_the_micro_batch_where_none_is_given(tokens, expected):
    config = replace(TRAIN, context_length=2048, batch_tokens=384 * 2048, forward_tokens=tokens)
    assert even_passes(384, tokens_per_pass(config) // 2048) == expected
    assert tokens_per_pass(replace(config, micro_batch_sequences=3)) == 3 * 2048


@pytest.mark.parametrize("model", [MODEL, LOOPED], ids=["plain", "looped from step 7 on"])
@pytest.mark.parametrize("stop_after", [1, 4, 6, 7, 11])
def test_a_resumed_run_is_bit_identical(stop_after, model):
    settings = replace(TRAIN, loop_start=0.5)
    straight = new_trainer(settings, model=model)
    losses = run(straight, 12)
    first = new_trainer(settings, model=model)
    run(first, stop_after)
    first.stop_clock()
    tensors, values = weights(first), first.state_values()
    second = new_trainer(settings, seed=9, model=model)
    second.load_state(tensors, values)
    assert run(second, 12 - stop_after) == losses[stop_after:]
    assert_same(weights(straight), weights(second))
    assert second.stop_reason() == "max_steps"


def test_forward_uses_what_the_export_would_store_and_updates_move_the_latent_weights():
    trainer = new_trainer()
    run(trainer, 4)
    name = "blocks.0.mlp.input.weight"
    parameter = dict(trainer.network.named_parameters())[name]
    trainer.steps_done = 6  # a refresh step
    latent = parameter.detach().clone()
    with trainer._forward_weights():
        inside = parameter.detach().clone()
        query = dict(trainer.network.named_parameters())["blocks.0.attention.query.weight"].detach().clone()
    scales = choose_scales(latent, 4, TRAIN.qat.clip_ratios).scale_R1
    assert torch.equal(inside, dequantize(quantize(latent, scales, 4), scales))
    assert not torch.equal(inside, latent)
    assert torch.equal(parameter, latent)
    assert torch.equal(query, dict(trainer.network.named_parameters())["blocks.0.attention.query.weight"])


def mean_bits(trainer):
    """Of matrices and n-gram tables, up to a constant."""
    priced = [
        p.detach() for name, p in trainer.network.named_parameters()
        if name.startswith(("blocks.", "kv_projections.", "bigram.", "trigram.")) and name.endswith("weight")
    ]  # fmt: skip
    total = sum(p.numel() * (p.abs().mean() / p.square().mean().sqrt()).log2() for p in priced)
    return float(total) / sum(p.numel() for p in priced)


def test_a_price_on_bits_makes_weights_of_fewer_and_does_not_count_as_loss():
    plain, priced = new_trainer(), new_trainer(replace(TRAIN, rate_penalty=0.5))
    assert run(plain, 1) == run(priced, 1)
    run(plain, 11), run(priced, 11)
    assert mean_bits(priced) < mean_bits(plain) - 0.02
    with pytest.raises(ConfigError, match="nothing to price"):
        new_trainer(replace(TRAIN, rate_penalty=0.5, qat=QuantPolicy(rules=(Rule(to="small"),))))
    tables = {id(p) for name, p in priced.network.named_parameters() if name.startswith("token_embedding")}
    assert not tables & {id(p) for p in priced.priced}


@pytest.mark.parametrize(("start", "first"), [(0.0, 0), (0.5, 6), (1.0, None)])
def test_quantization_starts_at_its_share_of_the_run(start, first):
    trainer = new_trainer(replace(TRAIN, qat_start=start))
    run(trainer, 12)
    assert trainer.qat_first_step == first


@pytest.mark.parametrize(("start", "first"), [(0.0, 0), (0.5, 6), (0.99, None)])
def test_loops_begin_at_their_share_of_the_run(start, first):
    trainer = new_trainer(replace(TRAIN, loop_start=start), model=LOOPED)
    seen, network = [], trainer.loss_of
    trainer.loss_of = lambda x, y, looping: seen.append(looping) or network(x, y, looping)
    run(trainer, 12)
    assert trainer.loop_first_step == first
    assert seen == [first is not None and step >= first for step in range(12)]
    assert new_trainer(replace(TRAIN, loop_start=start)).looping(), "a model without a loop has one form"


@pytest.mark.parametrize("seconds", [0.0, 600.0])
def test_the_mean_step_is_that_of_the_whole_run(seconds):
    settings = replace(TRAIN, loop_start=0.35, max_seconds=seconds)
    if seconds:  # 210 s of steps of 0.1 s, then 390 s of steps of 0.15 s
        expected = 600 / (210 / 0.1 + 390 / 0.15)
    else:
        expected = 0.35 * 0.1 + 0.65 * 0.15
    assert settings.mean_step(0.1, 0.15) == pytest.approx(expected, rel=1e-12)
    assert TRAIN.mean_step(0.1, 0.15) == 0.15


def test_warmdown_is_bounded_by_the_length_of_the_run_and_recorded():
    trainer = new_trainer(replace(TRAIN, warmdown_steps=5000, warmdown_fraction=0.5))
    factors = [trainer.step().lr_factor for _ in range(12)]
    assert factors[:7] == [1.0] * 7
    assert factors[7:] == pytest.approx([5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6])
    assert trainer.warmdown_start_step == 7


def test_the_warmdown_ends_at_the_floor():
    trainer = new_trainer(replace(TRAIN, warmdown_steps=5000, warmdown_fraction=0.5, lr_floor=0.4))
    factors = [trainer.step().lr_factor for _ in range(12)]
    assert factors == [1.0] * 7 + [max((12 - done) / 6, 0.4) for done in range(7, 12)]
    assert trainer.warmdown_start_step == 7
    assert trainer.optimizers[0].param_groups[0]["lr"] == 0.4 * OptimConfig().matrix_lr


GROWING = replace(TRAIN, context_growth=((0.25, 4), (0.5, 16)), context_length=32, warmdown_steps=0)
"""3 steps of 16 x 4 tokens, 3 of 4 x 16, 6 of 2 x 32."""


def test_sequences_grow_by_share_of_the_run_over_the_same_tokens_in_the_same_order():
    trainer, seen, shapes = new_trainer(GROWING), [], []
    plain = trainer.loss_of

    def watched(inputs_BT, targets_BT, looping):
        shapes.append(tuple(inputs_BT.shape))
        seen.extend(zip(inputs_BT.flatten().tolist(), targets_BT.flatten().tolist(), strict=True))
        return plain(inputs_BT, targets_BT, looping)

    trainer.loss_of = watched
    factors = [trainer.step().lr_factor for _ in range(12)]
    assert shapes == [(16, 4)] * 3 + [(4, 16)] * 3 + [(2, 32)] * 6
    assert trainer.context_first_steps == [3, 6]
    tokens = np.arange(12 * 64 + 1) * 7 % 40
    assert seen == list(zip(tokens[:-1].tolist(), tokens[1:].tolist(), strict=True))
    again = [(done + 1) / 32 for done in range(6)]
    assert factors == [1.0] * 3 + again[:3] + again
    assert trainer.warmdown_start_step is None


def test_micro_batches_keep_their_tokens_while_sequences_grow():
    trainer = new_trainer(replace(GROWING, micro_batch_sequences=1))
    found = []
    for _ in range(12):
        trainer.step()
        found.append(trainer.micro_batch)
    assert found == [8] * 3 + [2] * 3 + [1] * 6


@pytest.mark.parametrize("stop_after", [2, 3, 5, 6, 9])
def test_a_run_resumed_around_a_growth_is_bit_identical(stop_after):
    straight, first, second = new_trainer(GROWING), new_trainer(GROWING), new_trainer(GROWING, seed=9)
    losses = run(straight, 12)
    run(first, stop_after)
    first.stop_clock()
    second.load_state(weights(first), json.loads(json.dumps(first.state_values())))
    second.warm_up(2)
    assert run(second, 12 - stop_after) == losses[stop_after:]
    assert_same(weights(straight), weights(second))


@pytest.mark.parametrize(
    ("growth", "message"),
    [
        (((0.5, 4), (0.5, 8)), "shares that rise between 0 and 1"),
        (((0.0, 4),), "shares that rise"),
        (((1.0, 4),), "shares that rise"),
        (((0.5, 24),), "context_growth=24 must be a length that divides 64"),
        (((0.5, 0),), "context_growth=0 must be"),
    ],
)
def test_growth_of_the_context_is_checked(growth, message):
    with pytest.raises(ConfigError, match=message):
        replace(GROWING, context_growth=growth)


def test_a_capped_run_can_be_replayed(monkeypatch):
    clock = itertools.count()
    monkeypatch.setattr("golfpipe.training.trainer.time.perf_counter", lambda: next(clock) / 100)
    settings = replace(GROWING, max_steps=10_000, max_seconds=2.0, qat_start=0.5, warmdown_steps=5, loop_start=0.25)
    capped = new_trainer(settings, model=LOOPED)
    factors, losses = [], []
    while capped.stop_reason() is None:
        record = capped.step()
        factors.append(record.lr_factor)
        losses.append(record.loss.item())
    assert capped.stop_reason() == "max_seconds"
    assert min(factors) < 1.0 and 0 < capped.qat_first_step < len(factors)
    grown = tuple(capped.context_first_steps)
    assert len(grown) == 2 and capped.warmdown_start_step > grown[1] > grown[0] > 0
    assert 0 < capped.loop_first_step < capped.qat_first_step
    replay = Replay(tuple(factors), capped.qat_first_step, grown, capped.loop_first_step)
    replayed = new_trainer(settings, model=LOOPED, replay=replay)
    assert run(replayed, len(factors)) == losses
    assert replayed.stop_reason() == "max_steps"
    assert replayed.warmdown_start_step == capped.warmdown_start_step
    assert_same(weights(capped), weights(replayed))


@pytest.mark.parametrize("model", [MODEL, LOOPED])
@pytest.mark.parametrize("settings", [TRAIN, GROWING])
def test_warm_up_leaves_no_trace(settings, model):
    settings = replace(settings, loop_start=0.25)
    straight, warmed = new_trainer(settings, model=model), new_trainer(settings, model=model)
    warmed.warm_up(3)
    assert run(straight, 5) == run(warmed, 5)
    assert_same(weights(straight), weights(warmed))


def test_averaged_weights_stand_in_and_go_again():
    trainer = new_trainer()
    run(trainer, 3)
    own = {name: p.detach().clone() for name, p in trainer.network.named_parameters()}
    with trainer.averaged_weights() as network:
        inside = {name: p.detach().clone() for name, p in network.named_parameters()}
    assert_same(inside, trainer.average.state())
    assert_same(own, {name: p.detach() for name, p in trainer.network.named_parameters()})
    assert not torch.equal(inside["smear.gate"], own["smear.gate"])


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # from inside the compiler
def test_the_warm_up_compiles_for_the_whole_run():
    """Quantization starts, micro-batches and the average swapped in change no shape and no code; loops are a second
    graph."""
    from torch._dynamo.testing import CompileCounterWithBackend

    counter = CompileCounterWithBackend("aot_eager")
    settings = replace(TRAIN, qat_start=0.5, micro_batch_sequences=3, loop_start=0.25)
    plain, compiled = new_trainer(settings, model=LOOPED), new_trainer(settings, model=LOOPED)
    compiled.loss_of = torch.compile(compiled.network, dynamic=False, fullgraph=True, backend=counter)
    compiled.warm_up(2)
    assert counter.frame_count == 2
    losses = run(compiled, 5)
    with compiled.averaged_weights():
        pass
    losses += run(compiled, 4)
    assert (compiled.loop_first_step, compiled.qat_first_step) == (3, 6)
    assert counter.frame_count == 2
    assert losses == pytest.approx(run(plain, 9), rel=1e-4)


def test_the_warm_up_compiles_every_length_in_the_form_that_it_has():
    (first, _), (second, _) = GROWING.context_growth
    trainer, seen = new_trainer(replace(GROWING, loop_start=(first + second) / 2), model=LOOPED), []
    plain = trainer.loss_of
    trainer.loss_of = lambda x_BT, y_BT, looping: seen.append((x_BT.shape[1], looping)) or plain(x_BT, y_BT, looping)
    trainer.warm_up(1)
    assert list(dict.fromkeys(seen)) == [(4, False), (16, False), (16, True), (32, True)]
    assert trainer.length == 4 and trainer.loop_first_step is None
