"""What a training starts from: everything that it reads, opened and checked before anything is written."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch

from golfpipe.config.resolve import changed_keys
from golfpipe.config.schema import plain_config
from golfpipe.data.order import order_bits, order_warning
from golfpipe.data.token_data import load_tokenizer, load_training_shards
from golfpipe.errors import DataError, UsageError
from golfpipe.extras import require
from golfpipe.jobs.job import Job
from golfpipe.loading.pieces import model_config
from golfpipe.loading.weights import COMPUTE_DTYPES, check_vocabulary, load_weights
from golfpipe.machine.devices import select_device, select_threads
from golfpipe.machine.fast_paths import faster_precision
from golfpipe.model.config import forward_flops
from golfpipe.model.network import Network, build_network, initialize
from golfpipe.optim.process_group import ALONE
from golfpipe.stages.validation import Validation
from golfpipe.store.artifact import Artifact
from golfpipe.training.config import TrainConfig
from golfpipe.training.guarded import GuardedTrainer
from golfpipe.training.token_stream import TokenStream


@dataclass(frozen=True, kw_only=True)
class TrainingStart:
    """A training that could begin."""

    job: Job
    settings: TrainConfig
    """Those of the job, with the precision that `auto` means on the device."""
    device: torch.device
    stream: TokenStream
    skipped_shards: list[str]
    validation: Validation
    network: Network
    """The network on the device, with its first weights."""
    operations: float
    """The operations of the training, by which compiles() decides. On a GPU compiling always pays, for the clock stands
    still meanwhile: the number is infinite."""

    def trainer(self, compiled: bool, settings: TrainConfig | None = None) -> GuardedTrainer:
        """Return the trainer before its first step, with other settings if some are given. Raises ConfigError."""
        return GuardedTrainer(
            self.network,
            self.stream,
            settings or self.settings,
            self.job.config.optim,
            self.device,
            compiled,
            self.job.arguments.get("replay"),
            self.job.context.processes or ALONE,
        )


def open_training(job: Job) -> TrainingStart:
    """Open what the job names. Raises the errors of the project for whatever cannot be trained on or with."""
    if job.config.train.track != "none":
        require(job.config.train.track)
    select_threads(job.context.threads)
    device = torch.device(select_device(job.context.device))
    data, settings = job.inputs["data"], _settings(job, device)
    tokenizer = load_tokenizer(data)
    check_vocabulary(job.config.model, tokenizer)
    stream, skipped_shards = _open_stream(job, tokenizer.bos_id)
    validation = Validation(data, tokenizer, settings)
    return TrainingStart(
        job=job,
        settings=settings,
        device=device,
        stream=stream,
        skipped_shards=skipped_shards,
        validation=validation,
        network=_first_network(job, settings).to(device),
        operations=_flops(job, device),
    )


def _settings(job: Job, device: torch.device) -> TrainConfig:
    """Return the settings with the precision that `auto` means on this device."""
    settings = job.config.train
    if settings.precision != "auto":
        return settings
    processes = job.context.processes or ALONE
    return replace(settings, precision=processes.first(faster_precision(device)))


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
    if stream.num_tokens <= (longest := max(settings.context_lengths)):
        raise DataError(
            f"{data.path}: {stream.num_tokens} train tokens are not more than train.context_length={longest}",
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
    """Return the operations of all steps together; on a GPU infinitely many."""
    config, replay = job.config, job.arguments.get("replay")
    if device.type == "cuda":
        return math.inf
    steps = len(replay.lr_factors) if replay is not None else config.train.max_steps
    return steps * config.train.batch_tokens * 3 * forward_flops(config.model, config.train.context_length)
