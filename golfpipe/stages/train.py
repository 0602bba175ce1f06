"""Train a model from tokenized text and keep its averaged weights.

golfpipe train artifacts/data/demo --preset demo
golfpipe train artifacts/data/demo --preset tiny --set train.max_steps=500 --name longer   # CPU, about a minute
golfpipe train --resume -o artifacts/longer/train
golfpipe train artifacts/data/demo --init artifacts/demo/train --name warm      # from another model's weights
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import torch

from golfpipe.config.resolve import changed_keys
from golfpipe.config.schema import plain_config
from golfpipe.data.order import order_bits, order_warning
from golfpipe.data.shard_watch import ShardWatch
from golfpipe.data.token_data import load_tokenizer, load_training_shards
from golfpipe.errors import DataError, GolfpipeError, Interrupted, UsageError
from golfpipe.extras import require
from golfpipe.jobs.job import Job
from golfpipe.jobs.unfinished import protect
from golfpipe.loading.pieces import model_config
from golfpipe.loading.weights import COMPUTE_DTYPES, check_vocabulary, load_weights
from golfpipe.machine.busy import CoreWatch
from golfpipe.machine.compiling import compiled_passes, compiles
from golfpipe.machine.devices import select_device, select_threads
from golfpipe.machine.fast_paths import faster_precision, paths_taken
from golfpipe.machine.memory import keep_freed_memory
from golfpipe.machine.signals import StopRequest, deferred_signals
from golfpipe.model.config import forward_flops, parameter_count
from golfpipe.model.network import Network, build_network, initialize
from golfpipe.optim.process_group import ALONE
from golfpipe.reporter import Task
from golfpipe.stages.trackers import tracking
from golfpipe.stages.training_checkpoint import load_checkpoint, save_checkpoint
from golfpipe.stages.training_log import TrainingLog
from golfpipe.stages.validation import Validation
from golfpipe.store.artifact import Artifact
from golfpipe.store.artifact_writer import ArtifactWriter
from golfpipe.store.manifest import Result
from golfpipe.training.config import TrainConfig
from golfpipe.training.guarded import GuardedTrainer
from golfpipe.training.loop import FinishedStep, finish_steps, run_training
from golfpipe.training.token_stream import TokenStream

_CHANGED_HINT = (
    "bring the file back as it was and repeat the command, which goes on from the last checkpoint before the change, if"
    " there is one; the weights since then saw other data and are not kept"
)


def run(job: Job, out: ArtifactWriter) -> Result:
    """Train, or go on from the checkpoint that an interrupted run left in `out`."""
    if job.config.train.track != "none":
        require(job.config.train.track)
    select_threads(job.context.threads)
    device = torch.device(select_device(job.context.device))
    data, config = job.inputs["data"], job.config
    settings = _settings(job, device)
    tokenizer = load_tokenizer(data)
    check_vocabulary(config.model, tokenizer)
    watch = ShardWatch(data, _CHANGED_HINT)
    stream, skipped_shards = _open_stream(job, tokenizer.bos_id)
    watch.leave_out(skipped_shards)
    validation = Validation(data, tokenizer, settings)
    network = _first_network(job, settings).to(device)
    keep_freed_memory()
    compiled = compiles("train.compile", settings.compile, device, _flops(job, device), job.context.reporter)
    trainer = GuardedTrainer(
        network,
        stream,
        settings,
        config.optim,
        device,
        compiled,
        job.arguments.get("replay"),
        job.context.processes or ALONE,
    )
    resumed = load_checkpoint(out, trainer)
    with compiled_passes(compiled, device, network.compute_dtype, job.context.reporter):
        if compiled:
            trainer.warm_up(settings.compile_warmup_steps if device.type == "cuda" else 1)
        with tracking(job, trainer.steps_done) as track:
            log = TrainingLog(out, trainer, job.context.reporter, track)
            reason = _train(job, out, trainer, log, validation, watch, resumed)
            return _result(job, out, trainer, log, validation, reason, skipped_shards)


# ---- what training starts from ------------------------------------------------------------------------------------


def _settings(job: Job, device: torch.device) -> TrainConfig:
    """Return the settings with the precision that `auto` means on this device."""
    settings = job.config.train
    if settings.precision != "auto":
        return settings
    processes = job.context.processes or ALONE
    return replace(settings, precision=processes.first(faster_precision(device, job.config.model.model_dim)))


def _open_stream(job: Job, bos_id: int) -> tuple[TokenStream, list[str]]:
    """Open the train shards; return their tokens and the names of the shards that are skipped.

    Raises DataError where there are too few tokens for one sequence.
    """
    data, settings = job.inputs["data"], job.config.train
    shards, bad_shards = load_training_shards(data, settings.on_bad_shard)
    for message in bad_shards.values():
        job.context.reporter.warn(f"skipped: {message}")
    if warning := order_warning(order_bits(shards, bos_id), str(data.path)):
        job.context.reporter.warn(warning)
    stream = TokenStream(shards)
    if stream.num_tokens <= settings.context_length:
        raise DataError(
            f"{data.path}: {stream.num_tokens} train tokens are not more than"
            f" train.context_length={settings.context_length}",
            hint="lower train.context_length, or give more text",
        )
    return stream, sorted(bad_shards)


def _first_network(job: Job, settings: TrainConfig) -> Network:
    """Build the network with the weights of the seed, or with those of the model that --init names."""
    network = build_network(job.config.model, COMPUTE_DTYPES[settings.precision])
    initialize(network, job.config.seed)
    if "init" in job.inputs:
        _warm_start(network, job.inputs["init"])
    return network


def _warm_start(network: Network, source: Artifact) -> None:
    """Start from the weights of a model of the same architecture. Raises UsageError naming what differs."""
    changes = changed_keys(plain_config(model_config(source)), plain_config(network.config))
    if changes:
        raise UsageError(
            f"{source.path}: --init needs the same architecture: {'; '.join(f'model.{change}' for change in changes)}",
            path=str(source.path),
        )
    network.load_state_dict(load_weights(source))


def _flops(job: Job, device: torch.device) -> float:
    """Return the operations of the training, by which compiles() decides.

    On a GPU compiling always pays, for the clock stands still meanwhile: the answer is infinite.
    """
    config, replay = job.config, job.arguments.get("replay")
    if device.type == "cuda":
        return math.inf
    steps = len(replay.lr_factors) if replay is not None else config.train.max_steps
    return steps * config.train.batch_tokens * 3 * forward_flops(config.model, config.train.context_length)


# ---- the run itself -----------------------------------------------------------------------------------------------


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
        events = _Events(job, out, trainer, log, validation, watch, stop, task, cores)
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
    exit_code: int = 0

    def log(self, steps: list[FinishedStep]) -> None:
        if (busy := self.cores.warning(self.trainer.elapsed_seconds)) is not None:
            self.job.context.reporter.warn(busy)
        self.training_log.add_steps(steps)
        self.task.advance(len(steps), f"loss {self.training_log.loss_text}")

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
    model = plain_config(config.model)
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
