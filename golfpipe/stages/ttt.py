"""Test-time training: adapt a model to the text that it is scored on.

golfpipe ttt artifacts/demo/pack                                                   # the preset's method
golfpipe ttt artifacts/demo/pack -o artifacts/demo/lora --set ttt.method=score_first_lora
golfpipe ttt artifacts/demo/pack -o artifacts/demo/sgd --set ttt.method=score_first_sgd

A method that scores every token before it learns from it writes an evaluation. One that learns from tokens before they
are scored writes an adapted model, which is not eligible for a record.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch

from golfpipe.adapt.method import Recipe, Work
from golfpipe.config.later import plain_model
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
from golfpipe.stages.evaluation import RunningScore, write_evaluation
from golfpipe.store.artifact_writer import ArtifactWriter
from golfpipe.store.canonical import canonical_json
from golfpipe.store.manifest import Result


def run(job: Job, out: ArtifactWriter) -> Result:
    """Write an evaluation, or an adapted model, as the method decides."""
    select_threads(job.context.threads)
    device = torch.device(select_device(job.context.device))
    source, ttt = job.inputs["model"], job.config.ttt
    config = model_config(source)
    tokenizer = load_tokenizer(job.inputs["data"])
    check_vocabulary(config, tokenizer)
    text = load_validation(job.inputs["data"], tokenizer, job.config.evaluate.max_targets)
    network = load_network(config, load_weights(source), COMPUTE_DTYPES[ttt.precision]).to(device)
    keep_freed_memory()
    if not ttt.chosen.score_first:
        job.context.reporter.note(
            f"{ttt.method} test-time training learns from tokens before they are scored: not eligible for a record"
        )
    epochs = _Epochs()
    nats = _adapt(job, network, text, tokenizer.bos_id, device, epochs)
    seconds = time.perf_counter() - epochs.started
    if nats is None:
        return _adapted_model(job, out, network, epochs, len(text.sizes), seconds)
    if not np.isfinite(nats).all():
        raise StageFailed("test-time training diverged: a score is not finite", hint="lower ttt.lr")
    score = summarize(text.tokens, nats, text.sizes, tokenizer.bos_id)
    return write_evaluation(
        out, source, score, job.config, split_targets=text.split_targets, protocol="score_first", eval_seconds=seconds
    )


class _Epochs:
    """The epochs of a method that learns before it scores: a line each for ttt.jsonl."""

    def __init__(self) -> None:
        self.started, self.note = time.perf_counter(), ""
        self.lines: list[dict[str, Any]] = []

    def add(self, epoch: int, loss: float, factor: float) -> None:
        """Keep what an epoch gave. Raises StageFailed where its loss is not finite."""
        seconds = round(time.perf_counter() - self.started, 3)
        self.lines.append({"epoch": epoch, "loss_nats": loss, "lr_factor": factor, "seconds": seconds})
        self.note = f"epoch {epoch} loss {loss:.4f}"
        if not np.isfinite(loss):
            raise StageFailed(f"test-time training diverged in epoch {epoch}: loss {loss}", hint="lower ttt.lr")


def _adapt(
    job: Job, network: Network, text: ValidationText, bos_id: int, device: torch.device, epochs: _Epochs
) -> np.ndarray | None:
    """Run the method, compiled where that pays. Return what it returns: the nats of every target, or None."""
    ttt, reporter, processes = job.config.ttt, job.context.reporter, job.context.processes or ALONE
    method, recipe = ttt.chosen, ttt.recipe()
    total = len(text.sizes) * (1 if method.score_first else recipe.epochs)
    with reporter.task(f"ttt {ttt.method}", total, "targets") as task:
        loss_of = _compiled_loss(job, network, len(text.sizes), recipe, device)
        work = Work(
            network=network,
            tokens=text.tokens,
            bos_id=bos_id,
            windows=job.config.evaluate,
            seed=job.config.seed,
            device=device,
            processes=processes,
            loss_of=loss_of,
            on_scored=RunningScore(task, text.sizes, processes.size).add,
            on_step=lambda count: task.advance(count, epochs.note),
            on_epoch=epochs.add,
        )
        with compiled_passes(loss_of is not None, device, network.compute_dtype, reporter):
            return method.run(work, recipe)


def _compiled_loss(job: Job, network: Network, num_targets: int, recipe: Recipe, device: torch.device) -> Any:
    """Return the network's loss, compiled for the method's whole batches where that pays; else None."""
    batch, processes = job.config.ttt.chosen.loss_batch(recipe), job.context.processes or ALONE
    if batch is None:
        return None
    sequences, context = batch
    own = len(list(processes.share(range(sequences))))
    flops = 3 * forward_flops(network.config, context) * recipe.epochs * num_targets / processes.size
    if not compiles("ttt.compile", job.config.ttt.compile, device, flops, job.context.reporter):
        return None
    return compiled_for(network, (own, context))


def _adapted_model(
    job: Job, out: ArtifactWriter, network: Network, epochs: _Epochs, num_targets: int, seconds: float
) -> Result:
    """Write the weights and the log of a method that learned before anything is scored."""
    out.write("ttt.jsonl", "".join(canonical_json(line) + "\n" for line in epochs.lines).encode(), content=False)
    weights = {name: parameter.detach() for name, parameter in network.named_parameters()}
    model = plain_model(model_config(job.inputs["model"]))
    out.write_tensors("adapted.safetensors", weights, {"model": model})
    return Result(
        kind="adapted_model",
        metrics={
            "protocol": "pre_eval",
            "eligible": False,
            "epochs": job.config.ttt.recipe().epochs,
            "seen_targets": num_targets,
            "first_epoch_loss_nats": epochs.lines[0]["loss_nats"],
            "last_epoch_loss_nats": epochs.lines[-1]["loss_nats"],
            "ttt_seconds": round(seconds, 3),
        },
        model=model,
    )
