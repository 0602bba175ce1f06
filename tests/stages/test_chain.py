"""What holds along the chain, on real artifacts of a very small model."""

import json

import numpy as np
import pytest
import torch

from golfpipe.errors import ArtifactError, ConfigError, DataError
from golfpipe.jobs.run import run_job
from golfpipe.loading.lineage import shown_metrics
from golfpipe.loading.weights import load_weights
from golfpipe.scoring.config import EvaluateConfig
from golfpipe.store.artifact import open_artifact


def evaluate(chain, out, model, *overrides):
    return chain.run("evaluate", out, *overrides, inherit=model, model=model, data=chain.data).manifest.metrics


def test_every_kind_of_model_evaluates_and_packed_equals_quantized_to_the_last_digit(chain, fresh):
    adapted = chain.run("ttt", fresh("ttt"), inherit=chain.packed, model=chain.packed, data=chain.data)
    models = {"train": chain.trained, "quantize": chain.quantized, "pack": chain.packed, "ttt": adapted}
    scores = {name: evaluate(chain, fresh(f"evaluate-{name}"), model) for name, model in models.items()}
    for name, score in scores.items():
        assert score["val_loss_nats"] < np.log(384), name
        assert score["scored_targets"] == 2000
    assert scores["pack"]["val_loss_nats"] == scores["quantize"]["val_loss_nats"]
    assert scores["pack"]["val_bpb"] == scores["quantize"]["val_bpb"]
    assert scores["train"]["val_bpb"] != scores["pack"]["val_bpb"]
    assert scores["ttt"]["val_bpb"] < scores["pack"]["val_bpb"]
    assert [scores[name]["eligible"] for name in models] == [True, True, True, False]
    assert scores["ttt"]["protocol"] == "pre_eval"


def test_documents_add_up_to_the_score(chain, fresh):
    evaluation = chain.run("evaluate", fresh("e"), inherit=chain.packed, model=chain.packed, data=chain.data)
    parts, metrics = evaluation.read_tensors("documents.safetensors"), evaluation.manifest.metrics
    assert parts["targets"].sum().item() == metrics["scored_targets"]
    assert parts["bytes"].sum().item() == metrics["scored_bytes"]
    assert parts["nats"].sum().item() / metrics["scored_targets"] == pytest.approx(metrics["val_loss_nats"], rel=1e-12)


def test_whole_split_counts_every_target(chain, fresh):
    metrics = evaluate(chain, fresh("e"), chain.packed, "evaluate.max_targets=0", "evaluate.method=chunked")
    assert metrics["scored_targets"] == chain.data.manifest.metrics["val_tokens"] - 1
    assert metrics["scored_bytes"] == chain.data.manifest.metrics["val_bytes"]
    assert metrics["whole_split"]


@pytest.mark.parametrize("method", ["score_first_lora", "score_first_sgd"])
def test_score_first_methods_write_eligible_evaluations(chain, fresh, method):
    settings = [f"ttt.method={method}"]
    first, second = (
        chain.run("ttt", fresh(name), *settings, inherit=chain.packed, model=chain.packed, data=chain.data)
        for name in ("one", "two")
    )
    metrics = first.manifest.metrics
    assert (first.manifest.kind, metrics["protocol"], metrics["eligible"]) == ("evaluation", "score_first", True)
    assert metrics["scored_targets"] == 2000
    assert metrics["model_digest"] == chain.packed.manifest.digest
    assert first.manifest.digest == second.manifest.digest
    shown, is_alone = shown_metrics(first), method == "score_first_lora"
    assert (shown["method"], shown["stride"] is None) == (method, is_alone)
    assert (
        shown["context_length"]
        == first.manifest.config["ttt" if is_alone else "evaluate"].get(method, first.manifest.config["evaluate"])[
            "context_length"
        ]
    )
    assert shown_metrics(chain.packed) == chain.packed.manifest.metrics


def test_the_same_work_has_the_same_digests(chain, fresh):
    trained = chain.run("train", fresh("train"), data=chain.data)
    quantized = chain.run("quantize", fresh("quantize"), model=trained)
    packed = chain.run("pack", fresh("pack"), model=quantized)
    pairs = ((trained, chain.trained), (quantized, chain.quantized), (packed, chain.packed))
    assert [a.manifest.digest for a, _ in pairs] == [b.manifest.digest for _, b in pairs]
    other = chain.run("train", fresh("other"), "seed=1", data=chain.data)
    assert other.manifest.digest != trained.manifest.digest


def test_packed_bytes_are_the_file_and_the_tensors_add_up(chain):
    size = (chain.packed.path / "packed.safetensors").stat().st_size
    sizes, metrics = chain.packed.read_json("sizes.json"), chain.packed.manifest.metrics
    assert metrics["packed_bytes"] == size
    assert sizes["header_bytes"] + sum(tensor["bytes"] for tensor in sizes["tensors"]) == size
    assert metrics["total_bytes"] == size + 46_000 and metrics["fits"]


def test_a_limit_that_is_too_small_leaves_a_complete_artifact_that_says_so(chain, fresh):
    packed = chain.run("pack", fresh("p"), "pack.limit_bytes=25000", model=chain.quantized)
    assert packed.manifest.metrics["fits"] is False
    assert load_weights(packed).keys() == load_weights(chain.packed).keys()


@pytest.mark.parametrize("bits", [2, 5, 8, 16])
def test_bits_of_a_class_are_a_setting(chain, fresh, bits):
    quantized = chain.run("quantize", fresh("q"), f"quantize.mlp.bits={bits}", model=chain.trained)
    report = {line["name"]: line for line in quantized.read_json("report.json")["tensors"]}
    assert report["blocks.1.mlp.input.weight"]["bits"] == bits
    assert report["blocks.1.attention.query.weight"]["bits"] == 6
    packed = chain.run("pack", fresh("p"), model=quantized)
    left, right = load_weights(quantized), load_weights(packed)
    assert all(torch.equal(left[name], right[name]) for name in left)


def test_nibble_mode_holds_the_same_weights(chain, fresh):
    packed = chain.run("pack", fresh("p"), "pack.coder=nibble", model=chain.quantized)
    left, right = load_weights(chain.packed), load_weights(packed)
    assert all(torch.equal(left[name], right[name]) for name in left)


def test_rerunning_one_stage_touches_nothing_upstream(chain, fresh):
    before = {a.path: (a.path / "manifest.json").stat().st_mtime_ns for a in (chain.trained, chain.quantized)}
    quantized = chain.run(
        "quantize", fresh("q"), "quantize.attention.bits=4", inherit=chain.trained, model=chain.trained
    )
    chain.run("pack", fresh("p"), inherit=quantized, model=quantized)
    assert {path: (path / "manifest.json").stat().st_mtime_ns for path in before} == before


def test_same_settings_are_up_to_date_and_other_ones_replace(chain, fresh):
    job = chain.job("quantize", fresh("q"), model=chain.trained)
    assert [run_job(job).up_to_date, run_job(job).up_to_date] == [False, True]
    changed = run_job(chain.job("quantize", fresh("q"), "quantize.mlp.bits=3", model=chain.trained))
    assert not changed.up_to_date
    assert open_artifact(changed.artifact.path).manifest.config["quantize"]["mlp"]["bits"] == 3


def test_vocabulary_of_another_tokenizer_is_refused(chain, fresh):
    with pytest.raises(DataError, match=r"384 pieces, but model.vocab_size=400"):
        chain.run("train", fresh("t"), "model.vocab_size=400", data=chain.data)


def test_a_context_longer_than_the_data_is_refused(chain, fresh):
    with pytest.raises(DataError, match=r"train\.context_length=1048576"):
        chain.run("train", fresh("t"), "train.context_length=1048576", "train.batch_tokens=1048576", data=chain.data)


def test_stride_beyond_the_context_is_a_config_error(chain, fresh):
    with pytest.raises(ConfigError, match=r"evaluate\.stride=65"):
        chain.run("evaluate", fresh("e"), "evaluate.stride=65", model=chain.packed, data=chain.data)


@pytest.mark.parametrize("damage", ["nan", "missing", "shape", "extra"])
def test_weights_that_are_not_the_model_are_refused(chain, fresh, damage, monkeypatch):
    weights = load_weights(chain.trained)
    name = "blocks.0.mlp.input.weight"
    if damage == "nan":
        weights[name][0, 0] = float("nan")
    elif damage == "missing":
        del weights[name]
    elif damage == "shape":
        weights[name] = weights[name][:-1]
    else:
        weights["blocks.9.mlp.input.weight"] = weights[name]
    monkeypatch.setattr(type(chain.trained), "read_tensors", lambda self, file: weights)
    with pytest.raises(ArtifactError, match="blocks"):
        chain.run("quantize", fresh("q"), model=chain.trained)


def test_an_altered_file_is_refused_by_its_sha256(chain, fresh, tmp_path):
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(chain.packed.path, copy)
    content = bytearray((copy / "packed.safetensors").read_bytes())
    content[len(content) // 2] ^= 1
    (copy / "packed.safetensors").write_bytes(content)
    with pytest.raises(ArtifactError, match="sha256 differs"):
        chain.run("evaluate", fresh("e"), model=open_artifact(copy), data=chain.data)


def test_defaults_of_evaluation_are_those_of_the_spec():
    assert (EvaluateConfig().context_length, EvaluateConfig().stride, EvaluateConfig().method) == (2048, 32, "sliding")


def test_log_has_every_step_and_the_human_lines(chain):
    records = [json.loads(line) for line in (chain.trained.path / "log.jsonl").read_text().splitlines()]
    assert [r["step"] for r in records if r["type"] == "step"] == [1, 2, 3, 4, 5, 6]
    assert [r["step"] for r in records if r["type"] == "validation"] == [3]
    assert records[0]["type"] == "start" and records[-1]["type"] == "end"
    text = (chain.trained.path / "train.log").read_text()
    assert "seed:0\n" in text and f"model_params:{chain.trained.manifest.metrics['parameters']}\n" in text
    assert "step:6/6 train_loss:" in text and "val_bpb:" in text
