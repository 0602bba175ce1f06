"""Bad steps stop or are skipped, and too little memory is answered; the state stays that of the last good step."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from test_trainer import CPU, LOOPED, MODEL, TRAIN, assert_same, weights

from golfpipe.errors import DataError, StageFailed
from golfpipe.model.network import build_network, initialize
from golfpipe.optim.config import OptimConfig
from golfpipe.training.bad_steps import MAX_BAD_STEPS, LossWatch
from golfpipe.training.guarded import GuardedTrainer
from golfpipe.training.loop import finish_steps
from golfpipe.training.token_stream import TokenStream


def guarded(train=TRAIN, shards=None, model=MODEL):
    network = build_network(model)
    initialize(network, 0)
    tokens = (np.arange(1000) * 7 % 40).astype(np.uint16)
    trainer = GuardedTrainer(network, TokenStream(shards or [tokens[:300], tokens[300:]]), train, OptimConfig(), CPU)
    trainer.start_clock()
    return trainer


def fail_above(trainer, sequences, error=torch.OutOfMemoryError):
    """The device holds that many sequences per pass."""
    network = trainer.loss_of

    def limited(inputs_BT, *rest):
        if len(inputs_BT) > sequences:
            raise error("out of memory")
        return network(inputs_BT, *rest)

    trainer.loss_of = limited


def poison(trainer, step, value=float("nan")):
    """The loss of one step, and so its gradients, is multiplied by `value`."""
    network = trainer.loss_of
    trainer.loss_of = lambda *batch: network(*batch) * (value if trainer.steps_done == step - 1 else 1)


def judged(trainer, steps):
    return [trainer.judge(finish_steps([trainer.step()]))[0] for _ in range(steps)]


def test_without_trouble_it_is_a_trainer():
    from test_trainer import new_trainer

    plain, watched = new_trainer(), guarded(replace(TRAIN, on_bad_step="skip", auto_batch=True, spike_nats=5.0))
    for _ in range(12):
        plain.step(), watched.step()
    assert_same(weights(plain), weights(watched))


def test_a_bad_step_stops_and_says_where():
    trainer = guarded()
    poison(trainer, 6)
    with pytest.raises(StageFailed, match="loss is nan in step 6; its batch starts at token 20 of train shard 1"):
        judged(trainer, 12)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e30])
def test_a_skipped_step_changes_nothing_but_the_place(value):
    trainer = guarded(replace(TRAIN, on_bad_step="skip", spike_nats=10.0))
    poison(trainer, 6, value)
    judged(trainer, 5)
    before, position = weights(trainer), trainer.stream.position
    assert judged(trainer, 1)[0] is not None
    assert_same(before, weights(trainer))
    assert trainer.stream.position != position
    assert judged(trainer, 6) == [None] * 6


def test_skipping_has_an_end():
    trainer = guarded(replace(TRAIN, on_bad_step="skip", max_steps=50))
    trainer.loss_of = lambda *batch, network=trainer.loss_of: network(*batch) * float("nan")
    with pytest.raises(StageFailed, match=f"step {MAX_BAD_STEPS + 1}, after {MAX_BAD_STEPS} bad ones before it"):
        judged(trainer, 50)


def test_a_spike_is_judged_by_the_mean_of_good_losses():
    watch = LossWatch(2.0)
    assert watch.fault(4.0) is None and watch.fault(5.9) is None
    assert "over train.spike_nats=2 above the mean of 4.0380" in (watch.fault(7.0) or "")
    assert watch.mean == pytest.approx(4.038)
    assert LossWatch(0.0).fault(1e9) is None
    assert LossWatch(0.0).fault(1.0, float("inf")) == "the norm of the gradients is inf"


@pytest.mark.parametrize("answer", ["stop", "skip"])
def test_the_jump_where_loops_begin_is_no_spike(answer):
    settings = replace(TRAIN, on_bad_step=answer, spike_nats=1.0, loop_start=0.5)
    trainer = guarded(settings, model=LOOPED)
    network = trainer.loss_of
    trainer.loss_of = lambda *batch: network(*batch) * (1.5 if trainer.looping() else 1.0)
    assert judged(trainer, 12) == [None] * 12
    assert trainer.loop_first_step == 6


@pytest.mark.parametrize("error", [torch.OutOfMemoryError, MemoryError, RuntimeError])
def test_too_little_memory_names_the_batch_that_fits(error):
    trainer = guarded()  # 8 sequences a step
    judged(trainer, 3)
    before, position = weights(trainer), trainer.stream.position
    fail_above(trainer, 3, error)
    with pytest.raises(StageFailed, match="8 sequences of 8 tokens per pass do not fit on cpu; 2 do") as caught:
        trainer.step()
    assert "--auto-batch" in caught.value.hint
    assert trainer.stream.position == position
    # The failed step searched for clip ratios first; it would find the same ones again.
    assert_same(*({n: t for n, t in state.items() if "quantizer/" not in n} for state in (before, weights(trainer))))


def test_auto_batch_goes_on_as_if_told_so():
    trainer, told = guarded(replace(TRAIN, auto_batch=True)), guarded(replace(TRAIN, micro_batch_sequences=2))
    fail_above(trainer, 2)
    judged(trainer, 12), judged(told, 12)
    assert_same(weights(trainer), weights(told))
    resumed = guarded(replace(TRAIN, auto_batch=True))
    resumed.load_state(trainer.state_tensors(), trainer.state_values())
    assert resumed.micro_batch == 2


def test_longer_sequences_keep_to_the_memory_that_shorter_ones_found():
    growing = replace(TRAIN, auto_batch=True, context_growth=((0.5, 4),))
    trainer = guarded(growing)
    fail_above(trainer, 8)
    judged(trainer, 3)
    assert (trainer.micro_batch, trainer.pass_tokens) == (8, 32)
    resumed = guarded(growing)
    resumed.load_state(trainer.state_tensors(), trainer.state_values())
    judged(resumed, 9), judged(trainer, 9)
    assert (resumed.length, resumed.micro_batch) == (trainer.length, trainer.micro_batch) == (8, 4)
    assert_same(weights(trainer), weights(resumed))


def test_what_the_warm_up_learns_of_the_memory_stays():
    trainer = guarded(replace(TRAIN, auto_batch=True))
    fail_above(trainer, 2)
    before = weights(trainer)
    trainer.warm_up(2)
    assert trainer.micro_batch == 2 and trainer.unjudged == []
    assert_same(before, weights(trainer))


def test_not_one_sequence_fits():
    trainer = guarded(replace(TRAIN, auto_batch=True))
    fail_above(trainer, 0)
    with pytest.raises(StageFailed, match="not even one sequence of 8 tokens fits"):
        trainer.step()


def test_other_errors_are_not_taken_for_little_memory():
    trainer = guarded()
    fail_above(trainer, 0, type("Other", (RuntimeError,), {"__str__": lambda self: "shape mismatch"}))
    with pytest.raises(RuntimeError, match="shape mismatch"):
        trainer.step()


def test_lost_data_leaves_the_state_of_the_step_before():
    class Lost:
        def __len__(self):
            return 700

        def __getitem__(self, part):
            raise DataError("lost")

    trainer = guarded(shards=[(np.arange(300) % 40).astype(np.uint16), Lost()])
    judged(trainer, 4)
    before, position = weights(trainer), trainer.stream.position
    with pytest.raises(DataError):
        trainer.step()
    assert trainer.stream.position == position and trainer.steps_done == 4
    assert_same(before, weights(trainer))
