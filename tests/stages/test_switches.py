"""A model with every switch of the architecture on goes through all stages, and takes its settings along."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from golfpipe.cli.app import main
from golfpipe.data.token_data import load_tokenizer, load_validation
from golfpipe.errors import UsageError
from golfpipe.jobs.run import run_job
from golfpipe.loading.pieces import model_config
from golfpipe.loading.weights import load_weights
from golfpipe.model.config import LastLayers, LoopedLayers
from golfpipe.model.network import load_network
from golfpipe.stages import training_measure
from golfpipe.store.artifact import Artifact, open_artifact
from golfpipe.training.trainer import Trainer

SWITCHES = (
    "model.loop={first: 0, last: 1, passes: 3}", "model.parallel_residual={last: 1}", "model.document_attention=true",
    "model.depth_scale=true", "train.loop_start=0.5",
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("switches")


@pytest.fixture(scope="module")
def trained(chain, folder) -> Artifact:
    return chain.run("train", str(folder / "a/train"), *SWITCHES, data=chain.data)


@pytest.fixture(scope="module")
def packed(chain, folder, trained) -> Artifact:
    """Calibrated and solved to a size."""
    settings = ("quantize.method=trellis", "quantize.target_bytes=25000", "quantize.calibration=train")
    quantized = chain.run(
        "quantize", str(folder / "a/quantize"), *settings, inherit=trained, model=trained, data=chain.data
    )
    return chain.run("pack", str(folder / "a/pack"), inherit=quantized, model=quantized)


def score(chain, fresh, model, *overrides):
    evaluation = chain.run("evaluate", fresh("e"), *overrides, inherit=model, model=model, data=chain.data)
    return evaluation.manifest.metrics["val_loss_nats"], evaluation.read_tensors("documents.safetensors")


def test_loops_begin_in_the_middle_and_the_model_carries_them(trained):
    assert trained.manifest.metrics["loop_first_step"] == 3
    config = model_config(trained)
    assert config.loop == LoopedLayers(first=0, last=1, passes=3)
    assert (config.parallel_residual, config.document_attention) == (LastLayers(last=1), True)
    assert load_weights(trained)["skip_weights"].shape == (3, 32)


@pytest.mark.parametrize(("every", "dies_at", "goes_on_at"), [(2, 3, 2), (3, 4, 3), (2, 5, 4)])
def test_a_crash_before_at_and_after_the_loops_changes_nothing(
    chain, fresh, trained, monkeypatch, every, dies_at, goes_on_at
):
    step, done = Trainer.step, []

    def watched(self):
        if self.steps_done == dies_at and done[:1] == [0]:
            raise KeyboardInterrupt
        done.append(self.steps_done)
        return step(self)

    monkeypatch.setattr(Trainer, "step", watched)
    job = chain.job("train", fresh("train"), *SWITCHES, f"train.checkpoint_every={every}", data=chain.data)
    with pytest.raises(KeyboardInterrupt):
        run_job(job)
    first, done[:] = list(done), [-1]
    resumed = run_job(job).artifact
    assert (first, done[1:]) == (list(range(dies_at)), list(range(goes_on_at, 6)))
    assert resumed.manifest.metrics["loop_first_step"] == 3
    assert resumed.manifest.digest == trained.manifest.digest


def test_the_measured_step_is_the_mean_of_both_forms(chain, fresh, monkeypatch):
    forms = []

    def measured(trainer, passes):
        forms.append(trainer.looping())
        return 3.0 if trainer.looping() else 1.0

    monkeypatch.setattr(training_measure, "_median_seconds", measured)
    job = chain.job("train", fresh("train"), *SWITCHES, data=chain.data)
    assert training_measure.measured_step_seconds(job) == 2.0
    assert forms == [False, True]


def test_packed_scores_as_quantized_with_and_without_calibration(chain, fresh, trained, packed):
    blind = chain.run("quantize", fresh("q"), "quantize.method=rate", inherit=trained, model=trained)
    scores = [
        score(chain, lambda name: fresh("e1"), open_artifact(Path(packed.manifest.input("model").path)))[0],
        score(chain, lambda name: fresh("e2"), packed)[0],
        score(chain, lambda name: fresh("e3"), blind)[0],
        score(chain, lambda name: fresh("e4"), chain.run("pack", fresh("p"), inherit=blind, model=blind))[0],
    ]
    assert packed.manifest.metrics["packed_bytes"] <= 25_000
    assert scores[0] == scores[1] < np.log(384)
    assert scores[2] == scores[3] < np.log(384)


def test_documents_are_scored_as_if_they_were_alone(chain, fresh, packed):
    """Windows hold tokens of several documents; what a document scores does not depend on the others."""
    settings = ("evaluate.method=chunked", "evaluate.context_length=2000")
    _, parts = score(chain, fresh, packed, *settings)
    text = load_validation(chain.data, load_tokenizer(chain.data), 2000)
    network = load_network(model_config(packed), load_weights(packed))
    starts = np.flatnonzero(text.tokens[:-1] == 1)
    assert len(starts) == len(parts["nats"]) > 3
    with torch.inference_mode():
        for place, (start, end) in enumerate(zip(starts, [*starts[1:], len(text.tokens) - 1], strict=True)):
            ids = torch.from_numpy(text.tokens[start : end + 1].astype(np.int64))[None]
            nats = network.nats(network.hidden(ids[:, :-1])[0], ids[0, 1:]).sum().item()
            assert parts["nats"][place].item() == pytest.approx(nats, rel=1e-5)


@pytest.mark.parametrize("method", ["cosine", "score_first_lora", "score_first_sgd"])
def test_every_method_adapts_it(chain, fresh, packed, method):
    adapted = chain.run("ttt", fresh("t"), f"ttt.method={method}", inherit=packed, model=packed, data=chain.data)
    if method == "cosine":
        assert model_config(adapted) == model_config(packed)
        assert score(chain, fresh, adapted)[0] < score(chain, lambda name: fresh("before"), packed)[0]
    else:
        assert adapted.manifest.metrics["scored_targets"] == 2000


def test_it_writes_text_and_unpacks(chain, fresh, packed, capsys):
    words = ["generate", str(packed.path), "--data", str(chain.data.path), "--tokens", "5", "--seed", "1", "--json"]
    assert main(words) == 0
    assert isinstance(json.loads(capsys.readouterr().out), dict)
    assert main(["unpack", str(packed.path), "-o", fresh("u.safetensors"), "-q"]) == 0


def test_a_model_without_switches_is_no_start_for_one_with_them(chain, fresh):
    job = chain.job("train", fresh("warm"), *SWITCHES, data=chain.data, init=chain.trained)
    with pytest.raises(UsageError, match=r"same architecture: .*model\.loop"):
        run_job(job)
