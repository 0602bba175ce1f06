"""The time of a training step on this machine, measured on a few short ones."""

from __future__ import annotations

import statistics
from dataclasses import replace

from golfpipe.jobs.job import Job
from golfpipe.machine.compiling import compiled_passes, compiles
from golfpipe.optim.process_group import ProcessGroup
from golfpipe.stages.training_start import open_training
from golfpipe.training.guarded import GuardedTrainer
from golfpipe.training.trainer import sequences_of_each

REPEATS = 3


def measured_step_seconds(job: Job, processes: int = 1) -> float:
    """Return the seconds of a step of this process, one of so many, without the time in which they meet.

    Steps of one forward and backward pass alternate with steps of two, after one that warms up; a step is one of the
    first and, for each further pass of it, the difference. The medians count. Sequences have their last length; where
    layers loop later, the mean over training is returned. Writes nothing.
    """
    start = open_training(job)
    compiled = compiles("train.compile", start.settings.compile, start.device, start.operations, job.context.reporter)
    trainer = start.trainer(compiled, replace(start.settings, context_growth=()))
    sequences = sequences_of_each(start.settings, ProcessGroup(0, processes))
    passes = max(1, sequences // trainer.micro_batch)
    with compiled_passes(compiled, start.device, start.network.compute_dtype, job.context.reporter):
        single = looping = _median_seconds(trainer, passes)
        if not trainer.looping():
            trainer.loop_first_step = trainer.steps_done
            looping = _median_seconds(trainer, passes)
    return start.settings.mean_step(single, looping)


def _median_seconds(trainer: GuardedTrainer, passes: int) -> float:
    _seconds(trainer, 1)
    pairs = [(_seconds(trainer, 1), _seconds(trainer, min(2, passes))) for _ in range(REPEATS)]
    one, two = (float(statistics.median(times)) for times in zip(*pairs, strict=True))
    return one + (passes - 1) * max(0.0, two - one) if passes > 1 else min(one, two)


def _seconds(trainer: GuardedTrainer, passes: int) -> float:
    """Make a step of so many passes and return its time."""
    trainer.sequences = passes * trainer.micro_batch
    before = trainer.elapsed_seconds
    trainer.start_clock()
    trainer.step()
    trainer.stop_clock()
    return trainer.elapsed_seconds - before
