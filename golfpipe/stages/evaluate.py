"""Score a model on the validation split: nats per token, bits per byte, and per document.

golfpipe evaluate artifacts/demo/pack
golfpipe evaluate artifacts/demo/train artifacts/data/demo --set evaluate.method=chunked
golfpipe evaluate artifacts/demo/pack --shard 1/2         # on one machine; --shard 2/2 on another; then
golfpipe evaluate merge artifacts/demo/evaluate-pack-shard-1-of-2 artifacts/demo/evaluate-pack-shard-2-of-2
golfpipe evaluate artifacts/demo/pack -o artifacts/demo/evaluate-stride16 --set evaluate.stride=16
"""

from __future__ import annotations

import time
from itertools import islice

import numpy as np
import torch

from golfpipe.data.token_data import ValidationText, load_tokenizer, load_validation
from golfpipe.errors import StageFailed
from golfpipe.jobs.job import Job
from golfpipe.jobs.shard import Shard
from golfpipe.loading.pieces import model_config
from golfpipe.loading.weights import COMPUTE_DTYPES, check_vocabulary, load_weights
from golfpipe.machine.compiling import compiled_for, compiles
from golfpipe.machine.devices import select_device, select_threads
from golfpipe.machine.memory import keep_freed_memory
from golfpipe.model.config import forward_flops
from golfpipe.model.network import Network, load_network
from golfpipe.optim.process_group import ALONE
from golfpipe.scoring.score import LastNats, score_windows, summarize
from golfpipe.scoring.windows import batch_windows, plan_windows
from golfpipe.stages.evaluation import RunningScore, write_evaluation
from golfpipe.stages.parts import merged_nats, merged_seconds, write_part
from golfpipe.store.artifact_writer import ArtifactWriter
from golfpipe.store.manifest import Result


def run(job: Job, out: ArtifactWriter) -> Result:
    """Write documents.safetensors and the metrics of the split; for one shard, write part.safetensors."""
    select_threads(job.context.threads)
    device = torch.device(select_device(job.context.device))
    source, settings = job.inputs["model"], job.config.evaluate
    config = model_config(source)
    tokenizer = load_tokenizer(job.inputs["data"])
    check_vocabulary(config, tokenizer)
    text = load_validation(job.inputs["data"], tokenizer, settings.max_targets)
    shard, parts = job.arguments.get("shard"), job.arguments.get("parts")
    if parts is not None:
        nats, seconds = merged_nats(parts, len(text.sizes)), merged_seconds(parts)
    else:
        dtype = COMPUTE_DTYPES[settings.precision]
        # Nothing changes the weights, so they are cast once here instead of in every pass.
        network = load_network(config, load_weights(source), dtype).to(device, dtype)
        keep_freed_memory()
        started = time.perf_counter()
        nats = _score(job, network, text, shard, device)
        seconds = time.perf_counter() - started
    if shard is not None:
        return write_part(out, source, nats, shard, seconds)
    score = summarize(text.tokens, nats, text.sizes, tokenizer.bos_id)
    protocol = "pre_eval" if source.manifest.kind == "adapted_model" else "none"
    return write_evaluation(
        out, source, score, job.config, split_targets=text.split_targets, protocol=protocol, eval_seconds=seconds
    )


def _score(job: Job, network: Network, text: ValidationText, shard: Shard | None, device: torch.device) -> np.ndarray:
    """Return the nats per target, float32; NaN outside of the shard, where there is one. All processes work
    together."""
    settings, processes = job.config.evaluate, job.context.processes or ALONE
    part = Shard(1, 1) if shard is None else shard
    nats = np.full(len(text.sizes), np.nan, dtype=np.float32)
    pass_tokens = settings.pass_tokens(device.type)
    last_nats = _last_nats(job, network, len(nats) / part.count / processes.size, pass_tokens, device)
    with job.context.reporter.task("evaluate", -(-len(nats) // part.count), "targets") as task:
        running = RunningScore(task, text.sizes, processes.size)
        batches = batch_windows(plan_windows(len(nats), settings), pass_tokens)
        own = processes.share(islice(batches, part.index - 1, None, part.count))
        score_windows(last_nats, text.tokens, own, nats, device, running.add)
    if np.isfinite(nats).sum() != running.targets:
        raise StageFailed("a score is not finite", hint="the weights are broken, or evaluate.precision=bf16 overflows")
    processes.merge(nats)
    return nats


def _last_nats(job: Job, network: Network, targets: float, pass_tokens: int, device: torch.device) -> LastNats:
    """Return the network's scoring function, compiled where that pays for so many targets."""
    settings = job.config.evaluate
    context = settings.context_length
    step = settings.stride if settings.method == "sliding" else context
    flops = targets * context / step * forward_flops(network.config, context)
    if not compiles("evaluate.compile", settings.compile, device, flops, job.context.reporter):
        return network.last_nats
    return compiled_for(network.last_nats, (max(1, pass_tokens // context), context))
