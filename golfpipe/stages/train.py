"""Train a model from tokenized text and keep its averaged weights.

golfpipe train artifacts/data/demo --preset demo
golfpipe train artifacts/data/demo --preset tiny --set train.max_steps=500 --name longer   # CPU, about a minute
golfpipe train --resume -o artifacts/longer/train
golfpipe train artifacts/data/demo --init artifacts/demo/train --name warm      # from another model's weights
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from golfpipe.config.resolve import changed_keys
from golfpipe.config.schema import plain_config
from golfpipe.data.token_data import load_tokenizer, load_training_shards, load_validation
from golfpipe.data.tokenizer import Tokenizer
from golfpipe.errors import ArtifactError, DataError, GolfpipeError, Interrupted, StageFailed, UsageError
from golfpipe.jobs.job import Job
from golfpipe.loading.pieces import model_config
from golfpipe.loading.weights import COMPUTE_DTYPES, check_vocabulary, load_weights
from golfpipe.machine.compiling import compiled_passes, compiles
from golfpipe.machine.devices import select_device, select_threads
from golfpipe.machine.fast_paths import faster_precision, paths_taken
from golfpipe.machine.memory import keep_freed_memory
from golfpipe.machine.signals import StopRequest, deferred_signals
from golfpipe.model.config import forward_flops, parameter_count
from golfpipe.model.network import Network, build_network, initialize
from golfpipe.optim.process_group import ALONE
from golfpipe.reporter import Task
from golfpipe.scoring.config import EvaluateConfig
from golfpipe.scoring.score import Score, score_windows, summarize
from golfpipe.scoring.windows import batch_windows, chunked_windows
from golfpipe.stages.trackers import Record, check_tracker, tracking
from golfpipe.store.arrays import metadata_from_bytes
from golfpipe.store.artifact import Artifact, ArtifactWriter
from golfpipe.store.canonical import canonical_json
from golfpipe.store.files import sync_file, write_file, writing
from golfpipe.store.manifest import Result
from golfpipe.store.tensors import seal, tensors_from_bytes, tensors_to_bytes
from golfpipe.training.guarded import GuardedTrainer
from golfpipe.training.log_lines import cap_line, memory_line, start_lines, train_line, validation_line
from golfpipe.training.loop import FinishedStep, finish_steps, run_training
from golfpipe.training.token_stream import TokenStream

CHECKPOINT = "checkpoint.safetensors"
LOG = "log.jsonl"
HUMAN_LOG = "train.log"


def run(job: Job, out: ArtifactWriter) -> Result:
    """Train, or go on from the checkpoint that an interrupted run left in `out`."""
    config = job.config
    device = torch.device(select_device(job.context.device))
    processes = job.context.processes or ALONE
    if config.train.precision == "auto":
        precision = processes.first(faster_precision(device, config.model.model_dim))
        config = replace(config, train=replace(config.train, precision=precision))
    check_tracker(config.train.track)
    select_threads(job.context.threads)
    tokenizer = load_tokenizer(job.inputs["data"])
    check_vocabulary(config.model, tokenizer)
    shards, bad_shards = load_training_shards(job.inputs["data"], config.train.on_bad_shard)
    for message in bad_shards.values():
        job.context.reporter.warn(f"skipped: {message}")
    stream = TokenStream(shards)
    if stream.num_tokens <= config.train.context_length:
        raise DataError(
            f"{job.inputs['data'].path}: {stream.num_tokens} train tokens are not more than"
            f" train.context_length={config.train.context_length}",
            hint="lower train.context_length, or give more text",
        )
    network = build_network(config.model, COMPUTE_DTYPES[config.train.precision])
    initialize(network, config.seed)
    if "init" in job.inputs:
        _warm_start(network, job.inputs["init"])
    network.to(device)
    keep_freed_memory()
    replay = job.arguments.get("replay")
    compiled = compiles("train.compile", config.train.compile, device, _flops(job, device), job.context.reporter)
    trainer = GuardedTrainer(network, stream, config.train, config.optim, device, compiled, replay, processes)
    resumed = _resume(trainer, out)
    with compiled_passes(compiled, device, network.compute_dtype, job.context.reporter):
        if compiled:
            trainer.warm_up(config.train.compile_warmup_steps if device.type == "cuda" else 1)
        with tracking(job, trainer.steps_done) as track:
            return _train(job, out, trainer, tokenizer, resumed, sorted(bad_shards), track)


def _train(
    job: Job,
    out: ArtifactWriter,
    trainer: GuardedTrainer,
    tokenizer: Tokenizer,
    resumed: dict[str, Any] | None,
    skipped_shards: list[str],
    track: Callable[[Sequence[Record]], None],
) -> Result:
    label = "train" if resumed is None else f"train, resumed at step {trainer.steps_done}"
    with deferred_signals() as stop, job.context.reporter.task(label, trainer.max_steps, "steps") as task:
        task.advance(trainer.steps_done)
        events = _Events(job, out, trainer, tokenizer, stop, task, track)
        events.start(resumed)
        try:
            reason = run_training(trainer, events)
        except GolfpipeError:
            events.save_what_is_good()
            raise
        if reason != "interrupted":  # what follows may fail too, or be interrupted
            events.checkpoint(trainer.steps_done)
        if reason == "interrupted":
            raise Interrupted(
                f"stopped after step {trainer.steps_done} of {trainer.max_steps}; the state is saved",
                hint=f"golfpipe train --resume -o {job.out}{job.arguments.get('replay_words', '')}"
                + (f" --nproc {trainer.processes.size}" if trainer.processes.size > 1 else ""),
                exit_code=events.exit_code,
            )
    return events.finish(reason, skipped_shards)


def _flops(job: Job, device: torch.device) -> float:
    """Operations of the training for compiles(). On a GPU compiling always pays: the clock stands still meanwhile."""
    config, replay = job.config, job.arguments.get("replay")
    if device.type == "cuda":
        return math.inf
    steps = len(replay.lr_factors) if replay is not None else config.train.max_steps
    return steps * config.train.batch_tokens * 3 * forward_flops(config.model, config.train.context_length)


def _warm_start(network: Network, source: Artifact) -> None:
    """Start from the weights of a model of the same architecture. Raises UsageError naming what differs."""
    changes = changed_keys(plain_config(model_config(source)), plain_config(network.config))
    if changes:
        raise UsageError(
            f"{source.path}: --init needs the same architecture: {'; '.join(f'model.{change}' for change in changes)}",
            path=str(source.path),
        )
    network.load_state_dict(load_weights(source))


class _Events:
    """Logs, validations and checkpoints of one run. The first process writes them to disk."""

    def __init__(
        self,
        job: Job,
        out: ArtifactWriter,
        trainer: GuardedTrainer,
        tokenizer: Tokenizer,
        stop: StopRequest,
        task: Task,
        track: Callable[[Sequence[Record]], None],
    ) -> None:
        self.job, self.out, self.trainer, self.tokenizer = job, out, trainer, tokenizer
        self.stop_request, self.task, self.track = stop, task, track
        self.processes = trainer.processes
        self.writes = self.processes.rank == 0
        self.exit_code = 0
        self.settings = job.config.train
        self.tokens, self.split_targets = load_validation(job.inputs["data"], self.settings.validation_targets)
        self.last_loss: float | None = None
        self.skipped_steps = 0
        self.micro_batch = trainer.micro_batch
        self.checkpoint_path = out.scratch(CHECKPOINT)
        self.log_path = out.path(LOG, content=False)
        self.human_path = out.path(HUMAN_LOG, content=False)

    # ---- TrainingEvents ---------------------------------------------------------------------------------------

    def log(self, steps: list[FinishedStep]) -> None:
        if self.micro_batch != self.trainer.micro_batch:
            self.micro_batch = self.trainer.micro_batch
            self.job.context.reporter.warn(
                f"step {steps[-1].step}: memory ran out; going on with {self.micro_batch} sequences per forward pass"
            )
            self._append(
                [{"type": "micro_batch", "step": steps[-1].step, "micro_batch_sequences": self.micro_batch}],
            )
        for step, fault in zip(steps, self.trainer.judge(steps), strict=True):
            self._append([_step_record(step, fault)])
            if fault is None:
                self.last_loss = step.train_loss_nats
                continue
            self.skipped_steps += 1
            self.job.context.reporter.warn(f"step {step.step} skipped: {fault}")
        lines = [self._train_line(s) for s in steps if s.step % self.settings.log_every == 0 or s.step == 1]
        self._append_text(lines)
        self.task.advance(len(steps), f"loss {self._loss_text()}")

    def validate(self, step: int) -> None:
        score = self.score()
        self._append(
            [{"type": "validation", "step": step, "val_loss_nats": score.val_loss_nats, "val_bpb": score.val_bpb}],
        )
        self._append_text([self._validation_line(score)])
        self.job.context.reporter.note(
            f"step {step}: train loss {self._loss_text()}, val loss {score.val_loss_nats:.4f},"
            f" val bpb {score.val_bpb:.4f}"
        )

    def checkpoint(self, step: int) -> None:
        if not self.writes:
            return
        tensors = {name: tensor.contiguous() for name, tensor in self.trainer.state_tensors().items()}
        for name, tensor in tensors.items():
            if tensor.is_floating_point() and not torch.isfinite(tensor).all():
                raise StageFailed(
                    f"training diverged: {name} is not finite after step {step}",
                    hint="the last good checkpoint is kept; lower the learning rates and start with --force",
                )
        for path in (self.log_path, self.human_path):
            if path.exists():
                sync_file(path)
        values = self.trainer.state_values() | {
            "last_loss": self.last_loss,
            "skipped_steps": self.skipped_steps,
            "log_bytes": self.log_path.stat().st_size,
            "human_log_bytes": self.human_path.stat().st_size,
        }
        write_file(self.checkpoint_path, tensors_to_bytes(tensors, values | {"sha256": seal(tensors, values)}))

    def save_what_is_good(self) -> None:
        """After a step that could not be made, for unreadable data or too little memory: the state before it. After a
        bad one the last checkpoint stands."""
        unlogged = [mark.record for mark in self.trainer.unjudged]
        if unlogged:
            self.log(finish_steps(unlogged))
        if self.trainer.steps_done > 0 and self.trainer.watch.bad_in_a_row == 0:
            self.checkpoint(self.trainer.steps_done)

    def stop_requested(self) -> bool:
        """A signal to any process stops all of them after the same step."""
        signal_number = self.processes.largest(self.stop_request.signal_number or 0)
        self.exit_code = 128 + signal_number
        return signal_number > 0

    # ---- beginning and end ------------------------------------------------------------------------------------

    def start(self, resumed: dict[str, Any] | None) -> None:
        """`resumed`: the values of the checkpoint from which the run goes on."""
        config, trainer = self.job.config, self.trainer
        compiled = trainer.loss_of is not trainer.network
        paths = paths_taken(trainer.device, trainer.config.precision, trainer.config.compile, compiled)
        self.job.context.reporter.note("; ".join(map(str, paths)))
        if resumed is not None:
            self.last_loss, self.skipped_steps = resumed["last_loss"], resumed.get("skipped_steps", 0)
            self._append([{"type": "resume", "step": trainer.steps_done}])
            return
        if self.writes:
            for path in (self.log_path, self.human_path):
                path.unlink(missing_ok=True)
        parameters = parameter_count(config.model)
        self._append(
            [
                {
                    "type": "start",
                    "seed": config.seed,
                    "parameters": parameters,
                    "device": str(trainer.device),
                    "precision": trainer.config.precision,
                    "compiled": compiled,
                    "fast_paths": {path.name: path.on for path in paths},
                    "config": plain_config(config),
                }
            ],
        )
        self._append_text([start_lines(config.seed, parameters, config.train, trainer.max_steps)])

    def finish(self, reason: str, skipped_shards: list[str]) -> Result:
        trainer, config = self.trainer, self.job.config
        score = self.score()
        step_ms = trainer.elapsed_seconds * 1000 / max(1, trainer.steps_done)
        memory = torch.cuda.max_memory_allocated(trainer.device) if trainer.device.type == "cuda" else None
        lines = []
        if reason == "max_seconds":
            lines.append(cap_line(trainer.steps_done, trainer.max_steps, trainer.elapsed_seconds))
        lines.append(self._validation_line(score))
        if memory is not None:
            lines.append(memory_line(memory))
        self._append_text(lines)
        model = plain_config(config.model)
        self.out.write_tensors("ema.safetensors", trainer.average.state(), {"model": model})
        metrics = {
            "parameters": parameter_count(config.model),
            "steps": trainer.steps_done,
            "tokens": trainer.steps_done * config.train.batch_tokens,
            "train_loss_nats": self.last_loss,
            "val_loss_nats": score.val_loss_nats,
            "val_bpb": score.val_bpb,
            "scored_targets": score.num_targets,
            "stop_reason": reason,
            "warmdown_start_step": trainer.warmdown_start_step,
            "qat_first_step": trainer.qat_first_step,
            "precision": trainer.config.precision,
            "train_seconds": round(trainer.elapsed_seconds, 3),
            "step_avg_ms": round(step_ms, 3),
            "peak_memory_bytes": memory,
            **({"skipped_steps": self.skipped_steps} if self.skipped_steps else {}),
            **({"skipped_shards": skipped_shards} if skipped_shards else {}),
        }
        self._append([{"type": "end", **metrics}])
        replayed = {"replay": self.job.argument_digest} if trainer.replay is not None else {}
        return Result(kind="trained_model", metrics=metrics, model=model, provenance=replayed)

    def score(self) -> Score:
        """Averaged weights on the validation prefix, in disjoint windows of the training length."""
        nats = np.full(len(self.tokens) - 1, np.nan, dtype=np.float32)
        windows = chunked_windows(len(nats), self.settings.context_length)
        batches = self.processes.share(batch_windows(windows, EvaluateConfig().pass_tokens(self.trainer.device.type)))
        with self.trainer.averaged_weights() as network:
            score_windows(network.last_nats, self.tokens, batches, nats, self.trainer.device)
        self.processes.merge(nats)
        return summarize(self.tokens, nats, self.tokenizer.byte_table, self.tokenizer.bos_id)

    # ---- log lines --------------------------------------------------------------------------------------------

    def _train_line(self, finished: FinishedStep) -> str:
        return train_line(finished.step, self.trainer.max_steps, finished.train_loss_nats, finished.elapsed_seconds)

    def _validation_line(self, score: Score) -> str:
        trainer = self.trainer
        return validation_line(
            trainer.steps_done, trainer.max_steps, score.val_loss_nats, score.val_bpb, trainer.elapsed_seconds
        )

    def _loss_text(self) -> str:
        return f"{self.last_loss:.4f}" if self.last_loss is not None else "unknown"

    def _append(self, records: list[Record]) -> None:
        self._append_lines(self.log_path, [canonical_json(record) for record in records])
        self.track(records)

    def _append_text(self, lines: list[str]) -> None:
        self._append_lines(self.human_path, lines)

    def _append_lines(self, path: Path, lines: list[str]) -> None:
        if self.writes:
            text = "".join(f"{line}\n" for line in lines)
            with writing(path, len(text)), path.open("a", encoding="utf-8") as stream:
                stream.write(text)


def _step_record(step: FinishedStep, fault: str | None) -> dict[str, Any]:
    """Its line in the log: JSON has no NaN, and only a bad step has a fault."""
    finite = math.isfinite(step.train_loss_nats)
    record = {"type": "step", **asdict(step), "train_loss_nats": step.train_loss_nats if finite else None}
    return record if fault is None else record | {"fault": fault}


def _resume(trainer: GuardedTrainer, out: ArtifactWriter) -> dict[str, Any] | None:
    """Load the checkpoint in the partial folder, where there is one, and cut the logs back to its moment. Returns its
    values. The first process reads it for all."""
    path, reads = out.folder / CHECKPOINT, trainer.processes.rank == 0
    content = trainer.processes.first(path.read_bytes() if reads and path.is_file() else None)
    if content is None:  # not so for an empty file, which is a damaged one
        return None
    hint = "--force starts afresh"
    tensors, values = tensors_from_bytes(content, str(path)), metadata_from_bytes(content, str(path))
    if values.pop("sha256", None) != seal(tensors, values):
        raise ArtifactError(f"{path}: sha256 differs from the one inside: the file was altered", hint=hint)
    logs = [(out.folder / name, values.get(key)) for name, key in ((LOG, "log_bytes"), (HUMAN_LOG, "human_log_bytes"))]
    for log, size in logs if reads else ():
        found = log.stat().st_size if log.is_file() else None
        if type(size) is not int or size < 0 or found is None or found < size:
            raise ArtifactError(f"{log}: {found} bytes, the checkpoint was made when it had {size}", hint=hint)
    try:
        trainer.load_state(tensors, values)
    except (KeyError, RuntimeError, TypeError, ValueError, AttributeError) as error:
        raise ArtifactError(f"{path}: not a checkpoint of this run ({error})", hint=hint) from error
    for log, size in logs if reads else ():
        with log.open("r+b") as stream:
            stream.truncate(size)
    return values
