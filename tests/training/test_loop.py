from dataclasses import replace

import pytest
from test_trainer import TRAIN, new_trainer

from golfpipe.errors import StageFailed
from golfpipe.training.loop import run_training


class Recorder:
    def __init__(self, stop_at=None):
        self.steps, self.validations, self.checkpoints, self.stop_at = [], [], [], stop_at

    def log(self, steps):
        self.steps += steps

    def validate(self, step):
        self.validations.append(step)

    def checkpoint(self, step):
        self.checkpoints.append(step)

    def stop_requested(self):
        return self.stop_at is not None and self.steps_done >= self.stop_at


def run(trainer, events):
    step = trainer.step

    def counted():
        record = step()
        events.steps_done = record.step
        return record

    trainer.step = counted
    return run_training(trainer, events)


def test_every_step_is_logged_and_due_work_is_done():
    events = Recorder()
    assert run(new_trainer(replace(TRAIN, validate_every=4, checkpoint_every=5)), events) == "max_steps"
    assert [step.step for step in events.steps] == list(range(1, 13))
    assert events.validations == [4, 8]  # the one at the end is the caller's
    assert events.checkpoints == [5, 10]
    times = [step.elapsed_seconds for step in events.steps]
    assert times == sorted(times)


def test_a_stop_leaves_a_checkpoint_of_the_step_just_done():
    events = Recorder(stop_at=3)
    assert run(new_trainer(), events) == "interrupted"
    assert events.checkpoints == [3]
    assert [step.step for step in events.steps] == [1, 2, 3]


def test_what_the_log_refuses_is_not_saved():
    trainer, events = new_trainer(replace(TRAIN, checkpoint_every=1)), Recorder()

    def refuse_the_sixth(steps):
        if steps[-1].step == 6:
            raise StageFailed("bad")

    events.log = refuse_the_sixth
    with pytest.raises(StageFailed):
        run_training(trainer, events)
    assert events.checkpoints == [1, 2, 3, 4, 5]
