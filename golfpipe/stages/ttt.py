"""Test-time training: adapt a model to the text that it is scored on.

golfpipe ttt artifacts/demo/pack                                                   # the preset's method
golfpipe ttt artifacts/demo/pack -o artifacts/demo/lora --set ttt.method=score_first_lora
golfpipe ttt artifacts/demo/pack -o artifacts/demo/sgd --set ttt.method=score_first_sgd

`cosine` learns from tokens before they are scored: it writes an adapted model, which is not eligible for a record.
The score-first methods score every token before they learn from it: they write an evaluation.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch

from golfpipe.adapt.config import CosineRecipe, LoraRecipe, SgdRecipe
from golfpipe.adapt.cosine import adapt_cosine
from golfpipe.adapt.full_weights import LossOf
from golfpipe.adapt.score_first_lora import score_first_lora
from golfpipe.adapt.score_first_sgd import score_first_sgd
from golfpipe.config.schema import plain_config
from golfpipe.data.token_data import ValidationText, load_tokenizer, load_validation
from golfpipe.errors import StageFailed
from golfpipe.jobs.job import Job
from golfpipe.loading.pieces import model_config
from golfpipe.loading.weights import COMPUTE_DTYPES, check_vocabulary, load_weights
from golfpipe.machine.compiling import compiled_for, compiled_passes, compiles
from golfpipe.machine.devices import select_device, select_threads
from golfpipe.machine.memory import keep_freed_memory
from golfpipe.model.config import forward_flops
from golfpipe.model.network import Network, load_network
from golfpipe.optim.process_group import ALONE
from golfpipe.scoring.score import summarize
from golfpipe.scoring.windows import plan_windows
from golfpipe.stages.evaluation import RunningScore, write_evaluation
from golfpipe.store.artifact import ArtifactWriter
from golfpipe.store.canonical import canonical_json
from golfpipe.store.manifest import Result


def run(job: Job, out: ArtifactWriter) -> Result:
    """An adapted model (cosine) or an evaluation (score-first)."""
    select_threads(job.context.threads)
    device = torch.device(select_device(job.context.device))
    source = job.inputs["model"]
    config = model_config(source)
    tokenizer = load_tokenizer(job.inputs["data"])
    check_vocabulary(config, tokenizer)
    text = load_validation(job.inputs["data"], tokenizer, job.config.evaluate.max_targets)
    dtype = COMPUTE_DTYPES[job.config.ttt.precision]
    network = load_network(config, load_weights(source), dtype).to(device)
    recipe = job.config.ttt.recipe()
    keep_freed_memory()
    if isinstance(recipe, CosineRecipe):
        return _adapt(job, out, network, text.tokens, recipe, device)
    started = time.perf_counter()
    nats = _score_first(job, network, text, tokenizer.bos_id, recipe, device)
    seconds = time.perf_counter() - started
    if not np.isfinite(nats).all():
        raise StageFailed("test-time training diverged: a score is not finite", hint="lower ttt.lr")
    score = summarize(text.tokens, nats, text.sizes, tokenizer.bos_id)
    return write_evaluation(
        out, source, score, job.config, split_targets=text.split_targets, protocol="score_first", eval_seconds=seconds
    )


def _score_first(
    job: Job,
    network: Network,
    text: ValidationText,
    bos_id: int,
    recipe: LoraRecipe | SgdRecipe,
    device: torch.device,
) -> np.ndarray:
    tokens = text.tokens
    settings, processes = job.config.evaluate, job.context.processes or ALONE
    with job.context.reporter.task(f"ttt {job.config.ttt.method}", len(tokens) - 1, "targets") as task:
        on_scored = RunningScore(task, text.sizes, processes.size).add
        if isinstance(recipe, LoraRecipe):
            network.to(network.compute_dtype)  # only the adapters change: cast once
            return score_first_lora(network, tokens, bos_id, recipe, job.config.seed, device, on_scored, processes)
        windows = plan_windows(len(tokens) - 1, settings)
        loss_of = _loss_of(job, network, len(tokens) - 1, recipe, device)
        pass_tokens = settings.pass_tokens(device.type)
        with compiled_passes(loss_of is not None, device, network.compute_dtype, job.context.reporter):
            return score_first_sgd(network, tokens, windows, recipe, pass_tokens, device, on_scored, processes, loss_of)


def _loss_of(
    job: Job, network: Network, num_targets: int, recipe: CosineRecipe | SgdRecipe, device: torch.device
) -> LossOf | None:
    """The network's loss, compiled for whole batches where that pays; else None."""
    processes, context = job.context.processes or ALONE, recipe.context_length
    own = len(list(processes.share(range(recipe.batch_sequences))))
    flops = 3 * forward_flops(network.config, context) * recipe.epochs * num_targets / processes.size
    if not compiles("ttt.compile", job.config.ttt.compile, device, flops, job.context.reporter):
        return None
    return compiled_for(network, (own, context))


def _adapt(
    job: Job, out: ArtifactWriter, network: Network, tokens: np.ndarray, recipe: CosineRecipe, device: torch.device
) -> Result:
    job.context.reporter.warn(
        "cosine test-time training learns from tokens before they are scored: not eligible for a record"
    )
    started = time.perf_counter()
    epochs: list[dict[str, Any]] = []
    with job.context.reporter.task("ttt cosine", recipe.epochs * (len(tokens) - 1), "targets") as task:
        note = ""

        def on_epoch(epoch: int, loss: float, factor: float) -> None:
            nonlocal note
            seconds = round(time.perf_counter() - started, 3)
            epochs.append({"epoch": epoch, "loss_nats": loss, "lr_factor": factor, "seconds": seconds})
            note = f"epoch {epoch} loss {loss:.4f}"
            if not np.isfinite(loss):
                raise StageFailed(f"test-time training diverged in epoch {epoch}: loss {loss}", hint="lower ttt.lr")

        processes = job.context.processes or ALONE
        loss_of = _loss_of(job, network, len(tokens) - 1, recipe, device)
        with compiled_passes(loss_of is not None, device, network.compute_dtype, job.context.reporter):
            adapt_cosine(
                network, tokens, recipe, device, on_epoch, lambda count: task.advance(count, note), processes, loss_of
            )
    out.write("ttt.jsonl", "".join(canonical_json(line) + "\n" for line in epochs).encode(), content=False)
    weights = {name: parameter.detach() for name, parameter in network.named_parameters()}
    model = plain_config(model_config(job.inputs["model"]))
    out.write_tensors("adapted.safetensors", weights, {"model": model})
    return Result(
        kind="adapted_model",
        metrics={
            "protocol": "pre_eval",
            "eligible": False,
            "epochs": recipe.epochs,
            "seen_targets": len(tokens) - 1,
            "first_epoch_loss_nats": epochs[0]["loss_nats"],
            "last_epoch_loss_nats": epochs[-1]["loss_nats"],
            "ttt_seconds": round(time.perf_counter() - started, 3),
        },
        model=model,
    )
