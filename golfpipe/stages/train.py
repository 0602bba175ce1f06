"""Train a model from tokenized text and keep its averaged weights.

golfpipe train artifacts/data/demo --preset demo
golfpipe train artifacts/data/demo --preset tiny --set train.max_steps=500 --name longer   # CPU, about a minute
golfpipe train --resume -o artifacts/longer/train
golfpipe train artifacts/data/demo --init artifacts/demo/train --name warm      # from another model's weights
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from golfpipe.data.shard_watch import ShardWatch
from golfpipe.errors import GolfpipeError, Interrupted, StageFailed
from golfpipe.jobs.job import Job
from golfpipe.jobs.processes import check_processes
from golfpipe.jobs.unfinished import protect
from golfpipe.loading.leader import Pursuit
from golfpipe.machine.busy import CoreWatch
from golfpipe.machine.compiling import compiled_passes, compiles
from golfpipe.machine.fast_paths import paths_taken
from golfpipe.machine.memory import keep_freed_memory
from golfpipe.machine.signals import StopRequest, deferred_signals
from golfpipe.model.config import parameter_count, plain_model
from golfpipe.optim.process_group import ProcessGroup
from golfpipe.reporter import Task
from golfpipe.stages.trackers import tracking
from golfpipe.stages.training_checkpoint import load_checkpoint, save_checkpoint
from golfpipe.stages.training_log import TrainingLog
from golfpipe.stages.training_start import open_training
from golfpipe.stages.validation import Validation
from golfpipe.store.artifact_writer import ArtifactWriter
from golfpipe.store.manifest import Result
from golfpipe.training.guarded import GuardedTrainer
from golfpipe.training.loop import FinishedStep, finish_steps, run_training
from golfpipe.training.trainer import sequences_of_each

_CHANGED_HINT = (
    "bring the file back as it was and repeat the command, which goes on from the last checkpoint before the change, if"
    " there is one; the weights since then saw other data and are not kept"
)


def run(job: Job, out: ArtifactWriter) -> Result:
    """Train, or go on from the checkpoint that an interrupted run left in `out`."""
    watch = ShardWatch(job.inputs["data"], _CHANGED_HINT)
    start = open_training(job)
    device = start.device
    watch.leave_out(start.skipped_shards)
    keep_freed_memory()
    compiled = compiles("train.compile", start.settings.compile, device, start.operations, job.context.reporter)
    trainer = start.trainer(compiled)
    resumed = load_checkpoint(out, trainer)
    with compiled_passes(compiled, device, start.network.compute_dtype, job.context.reporter):
        if compiled:
            trainer.warm_up(start.settings.compile_warmup_steps if device.type == "cuda" else 1)
        with tracking(job, trainer.steps_done) as track:
            log = TrainingLog(out, trainer, job.context.reporter, track)
            reason = _train(job, out, trainer, log, start.validation, watch, resumed)
            return _result(job, out, trainer, log, start.validation, reason, start.skipped_shards)


def check(job: Job, processes: int = 1) -> None:
    """Raise what `run` in so many processes would refuse before its first step. Writes nothing."""
    start = open_training(job)
    check_processes(start.device, processes)
    sequences_of_each(start.settings, ProcessGroup(0, processes))
    start.trainer(compiled=False)


def _train(
    job: Job,
    out: ArtifactWriter,
    trainer: GuardedTrainer,
    log: TrainingLog,
    validation: Validation,
    watch: ShardWatch,
    resumed: dict[str, Any] | None,
) -> str:
    """Make all steps that remain and return why the run ended. `resumed`: the values of the checkpoint, if any.

    Raises Interrupted after a signal, with the state saved, StageFailed or DataError for a step that fails, and
    ArtifactError where a shard was changed; the last checkpoint from before that stays.
    """
    label = "train" if resumed is None else f"train, resumed at step {trainer.steps_done}"
    with deferred_signals() as stop, job.context.reporter.task(label, trainer.max_steps, "steps") as task:
        task.advance(trainer.steps_done)
        _begin_log(job, trainer, log, resumed)
        cores = CoreWatch(torch.get_num_threads() if trainer.device.type == "cpu" else 1)
        curve = job.arguments.get("leader")
        pursuit = Pursuit(curve, trainer.max_steps) if curve is not None else None
        events = _Events(job, out, trainer, log, validation, watch, stop, task, cores, pursuit)
        try:
            reason = run_training(trainer, events)
        except GolfpipeError:
            events.save_what_is_good()
            raise
        if reason == "interrupted":
            raise Interrupted(
                f"stopped after step {trainer.steps_done} of {trainer.max_steps}; the state is saved",
                hint=f"golfpipe train --resume -o {job.out}{job.arguments.get('replay_words', '')}"
                + (f" --nproc {trainer.processes.size}" if trainer.processes.size > 1 else ""),
                exit_code=events.exit_code,
            )
        watch.verify()
        events.checkpoint(trainer.steps_done)  # what follows may fail too, or be interrupted
    return reason


def _begin_log(job: Job, trainer: GuardedTrainer, log: TrainingLog, resumed: dict[str, Any] | None) -> None:
    compiled = trainer.loss_of is not trainer.network
    paths = paths_taken(trainer.device, trainer.config.precision, trainer.config.compile, compiled)
    job.context.reporter.note("; ".join(map(str, paths)))
    if resumed is None:
        log.start(job.config, compiled, paths)
    else:
        log.resume(resumed)


@dataclass
class _Events:
    """Logs, validates, saves and stops where `run_training` says that it is time."""

    job: Job
    out: ArtifactWriter
    trainer: GuardedTrainer
    training_log: TrainingLog
    validation: Validation
    watch: ShardWatch
    stop_request: StopRequest
    task: Task
    cores: CoreWatch
    pursuit: Pursuit | None = None
    exit_code: int = 0

    def log(self, steps: list[FinishedStep]) -> None:
        if (busy := self.cores.warning(self.trainer.elapsed_seconds)) is not None:
            self.job.context.reporter.warn(busy)
        self.training_log.add_steps(steps)
        self.task.advance(len(steps), f"loss {self.training_log.loss_text}")
        if self.pursuit is not None:
            behind = self.pursuit.behind((step.step, step.train_loss_nats) for step in steps)
            if behind is not None:
                raise StageFailed(behind)

    def validate(self, step: int) -> None:
        self.training_log.add_validation(self.validation.score(self.trainer))

    def checkpoint(self, step: int) -> None:
        self.watch.check()
        if self.trainer.processes.rank == 0:
            protect(self.job, self.out)
            save_checkpoint(self.out, self.trainer, self.training_log.state_values())

    def stop_requested(self) -> bool:
        """Stop all processes after the same step, whichever of them got the signal."""
        signal_number = self.trainer.processes.largest(self.stop_request.signal_number or 0)
        self.exit_code = 128 + signal_number
        return signal_number > 0

    def save_what_is_good(self) -> None:
        """Save the state before a step that could not be made, for unreadable data or too little memory.

        After a bad step the last checkpoint stands.
        """
        unlogged = [mark.record for mark in self.trainer.unjudged]
        if unlogged:
            self.log(finish_steps(unlogged))
        if self.trainer.steps_done > 0 and self.trainer.watch.bad_in_a_row == 0:
            self.checkpoint(self.trainer.steps_done)


def _result(
    job: Job,
    out: ArtifactWriter,
    trainer: GuardedTrainer,
    log: TrainingLog,
    validation: Validation,
    reason: str,
    skipped_shards: list[str],
) -> Result:
    """Score and write the averaged weights."""
    config, score = job.config, validation.score(trainer)
    model = plain_model(config.model)
    out.write_tensors("ema.safetensors", trainer.average.state(), {"model": model})
    on_gpu = trainer.device.type == "cuda"
    metrics = {
        "parameters": parameter_count(config.model),
        "steps": trainer.steps_done,
        "tokens": trainer.steps_done * config.train.batch_tokens,
        "train_loss_nats": log.last_loss,
        "val_loss_nats": score.val_loss_nats,
        "val_bpb": score.val_bpb,
        "scored_targets": score.num_targets,
        "stop_reason": reason,
        "warmdown_start_step": trainer.warmdown_start_step,
        "qat_first_step": trainer.qat_first_step,
        **({"loop_first_step": trainer.loop_first_step} if config.model.loop != "none" else {}),
        **({"context_first_steps": trainer.context_first_steps} if config.train.context_growth else {}),
        "precision": trainer.config.precision,
        "train_seconds": round(trainer.elapsed_seconds, 3),
        "step_avg_ms": round(trainer.elapsed_seconds * 1000 / max(1, trainer.steps_done), 3),
        "peak_memory_bytes": torch.cuda.max_memory_allocated(trainer.device) if on_gpu else None,
        **({"skipped_steps": log.skipped_steps} if log.skipped_steps else {}),
        **({"skipped_shards": skipped_shards} if skipped_shards else {}),
    }
    log.end(score, metrics)
    replayed = {"replay": job.argument_digest} if trainer.replay is not None else {}
    return Result(kind="trained_model", metrics=metrics, model=model, provenance=replayed)
