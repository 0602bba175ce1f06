"""Score a model on the validation split: nats per token, bits per byte, and per document.

golfpipe evaluate artifacts/demo/pack
golfpipe evaluate artifacts/demo/train artifacts/data/demo --set evaluate.method=chunked
golfpipe evaluate artifacts/demo/pack -o artifacts/demo/evaluate-stride16 --set evaluate.stride=16 --set evaluate.max_targets=20000
"""

from __future__ import annotations

import time

import numpy as np
import torch

from golfpipe.data.token_data import load_tokenizer, load_validation
from golfpipe.model.network import load_network
from golfpipe.scoring.score import score_windows, summarize
from golfpipe.scoring.windows import batch_windows, plan_windows
from golfpipe.stages.base import Job, select_device, select_threads
from golfpipe.stages.evaluation import RunningScore, write_evaluation
from golfpipe.stages.models import COMPUTE_DTYPES, check_vocabulary, load_weights, model_config
from golfpipe.store.artifact import ArtifactWriter
from golfpipe.store.manifest import Result


def run(job: Job, out: ArtifactWriter) -> Result:
    """Write documents.safetensors and the metrics of the split."""
    select_threads(job.context.threads)
    device = torch.device(select_device(job.context.device))
    source, settings = job.inputs["model"], job.config.evaluate
    config = model_config(source)
    tokenizer = load_tokenizer(job.inputs["data"])
    check_vocabulary(config, tokenizer)
    tokens, split_targets = load_validation(job.inputs["data"], settings.max_targets)
    network = load_network(config, load_weights(source), COMPUTE_DTYPES[settings.precision]).to(device)
    nats = np.full(len(tokens) - 1, np.nan, dtype=np.float32)
    started = time.perf_counter()
    with job.context.reporter.task("evaluate", len(nats), "targets") as task:
        on_scored = RunningScore(task, tokens, tokenizer.byte_table).add
        batches = batch_windows(plan_windows(len(nats), settings), settings.batch_tokens)
        score_windows(network, tokens, batches, nats, device, on_scored)
    seconds = time.perf_counter() - started
    score = summarize(tokens, nats, tokenizer.byte_table, tokenizer.bos_id)
    protocol = "pre_eval" if source.manifest.kind == "adapted_model" else "none"
    return write_evaluation(
        out, source, score, job.config, split_targets=split_targets, protocol=protocol, eval_seconds=seconds
    )
