"""A checkpoint in the pull request's names becomes a trained model that scores as its weights do."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
import torch
from their_checkpoint import state, theirs

from golfpipe.cli.app import main
from golfpipe.config.checkpoint_names import infer_model
from golfpipe.config.schema import plain_config
from golfpipe.errors import ConfigError, DataError
from golfpipe.jobs.run import run_job
from golfpipe.loading.weights import load_weights
from golfpipe.model.config import IDLE, LastLayers, LoopedLayers, ModelConfig, plain_model
from golfpipe.pipeline.importing import prepare_import
from golfpipe.pipeline.settings import Settings
from golfpipe.pipeline.single import Request


def config(**changes) -> ModelConfig:
    small = {"vocab_size": 384, "num_layers": 4, "model_dim": 32, "num_heads": 4, "num_kv_heads": 2,
             "bigram_buckets": 64, "bigram_dim": 8, "trigram_buckets": 32, "trigram_dim": 4}  # fmt: skip
    return ModelConfig(**(small | changes))


def shapes(model: ModelConfig) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in state(model).items()}


def plan(file: Path, *overrides: str, preset: str | None = None, config_file: Path | None = None):
    settings = Settings(preset=preset, overrides=overrides, config_file=config_file)
    return prepare_import(Request(stage="import", settings=settings, out=file.parent / "out"), file, None)


def save(folder: Path, tensors, name: str = "final_model.pt") -> Path:
    torch.save(tensors, folder / name)
    return folder / name


@pytest.mark.parametrize(
    "changes",
    [
        {"kv_sharing": "all"},
        {"kv_sharing": "none"},
        {"kv_sharing": LastLayers(last=2)},
        {"kv_sharing": LastLayers(last=1)},
        {"bigram_buckets": 0},
        {"trigram_buckets": 0, "mlp_ratio": 3.0},
        {"num_layers": 1, "kv_sharing": "none"},
        {"num_layers": 5, "num_kv_heads": 4, "mlp_ratio": 2.7},
        {"tied_embeddings": False},
    ],
)
def test_the_architecture_is_seen_in_names_and_shapes(changes):
    model = config(**changes)
    found = infer_model(shapes(model), "file").model
    for key, value in found.items():
        expected = getattr(model, key)
        if key == "mlp_ratio":
            assert int(value * model.model_dim) == model.mlp_hidden
        else:
            assert value == ({"last": expected.last} if isinstance(expected, LastLayers) else expected), key


def test_wrappers_and_buffers_are_no_weights():
    plain = shapes(config())
    wrapped = {f"module._orig_mod.{name}": shape for name, shape in plain.items()} | {
        "module.blocks.0.attn.rotary.inv_freq": (4,)
    }
    found = infer_model(wrapped, "file")
    assert found.model == infer_model(plain, "file").model
    assert found.ignored == ("module.blocks.0.attn.rotary.inv_freq",)
    assert found.sources["smear.gate"] == "module._orig_mod.smear.gate"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tok_emb.weight": None}, "no tensor tok_emb.weight"),
        ({"tok_emb.weight": (384,)}, "expected 2 dimensions"),
        ({"blocks.1.mlp.fc.weight": None}, "no tensor blocks.1.mlp.fc.weight"),
        ({"blocks.1.mlp.fc.weight": (7, 32)}, r"has shape \[7, 32\], expected \[112, 32\]"),
        ({"blocks.0.attn.q_gain": (5,)}, "5 heads"),
        ({"blocks.0.attn.c_k.weight": (9, 32)}, "9 rows"),
        ({"blocks.0.attn.c_k.weight": None}, "no layer has"),
        ({"blocks.9.attn_scale": (32,)}, "blocks are numbered 0, 1, 2, 3, 9"),
        ({"qo_bank": (4, 32, 32)}, "qo_bank not known"),
        ({"blocks.2.attn.c_k.weight": (16, 32)}, "which is no sharing"),
        ({"skip_weights": (3, 32)}, "skip_weights has shape"),
        ({"tok_emb.weight": (100_000, 32)}, "shapes that make no model"),
    ],
)
def test_files_that_are_another_model_are_refused_by_name(change, message):
    wrong = {name: shape for name, shape in (shapes(config()) | change).items() if shape is not None}
    with pytest.raises(DataError, match=message):
        infer_model(wrong, "file")


def test_weights_arrive_unchanged_and_the_manifest_says_what_was_assumed(tmp_path):
    model = config(leaky_slope=0.0)
    tensors = state(model)
    tensors["bigram.embed.weight"] = tensors["bigram.embed.weight"].bfloat16()
    tensors["trigram.scale"] = tensors["trigram.scale"].reshape(1)
    planned = plan(save(tmp_path, tensors), "model.leaky_slope=0", "model.rope_base=5000")
    artifact = run_job(planned.job).artifact
    weights = load_weights(artifact)
    for name, tensor in weights.items():
        assert torch.equal(tensor, tensors[theirs(name, model)].float().reshape(tensor.shape)), name
    provenance = artifact.manifest.provenance
    assert provenance["inferred"]["num_layers"] == 4 and provenance["inferred"]["kv_sharing"] == "all"
    assert (
        provenance["assumed"]["model.leaky_slope"] == 0
        and provenance["assumed"]["model.mask_document_boundaries"] is False
    )
    assert provenance["assumed_from"] == {
        "model.leaky_slope": "--set", "model.rope_fraction": "default", "model.rope_base": "--set",
        "model.logit_softcap": "default", "model.exclusive_attention": "default",
        "model.mask_document_boundaries": "the pull request's script", "model.bos_id": "default",
        "model.parallel_residual": "default", "model.document_attention": "default", "model.depth_scale": "default",
        "evaluate.context_length": "default",
    }  # fmt: skip
    assert provenance["imported_dtypes"] == ["bfloat16", "float32"]
    assert artifact.manifest.config["model"] == artifact.manifest.model | dict(IDLE)
    assert run_job(plan(tmp_path / "final_model.pt", "model.leaky_slope=0", "model.rope_base=5000").job).up_to_date


def test_what_loops_has_to_be_said(tmp_path):
    model = config(loop=LoopedLayers(first=1, last=2, passes=3), parallel_residual="all", depth_scale=True)
    file = save(tmp_path, state(model))
    with pytest.raises(DataError, match=r"skip_weights has shape \[4, 32\], expected \[2, 32\]"):
        plan(file)
    said = ("model.loop={first: 1, last: 2, passes: 3}", "model.parallel_residual=all", "model.depth_scale=true")
    planned = plan(file, *said, "model.mask_document_boundaries=true")
    artifact = run_job(planned.job).artifact
    assert artifact.manifest.model == plain_model(model)
    assert load_weights(artifact)["skip_weights"].shape == (4, 32)
    assert planned.origins["model.depth_scale"] == "--set"


def test_a_preset_of_the_files_shape_is_taken_unless_one_is_given(tmp_path):
    stages, sizes = tmp_path / "stages.yaml", plain_config(config(kv_sharing="none"))
    fits = {key: sizes[key] for key in infer_model(shapes(config(kv_sharing="none")), "file").model} | {
        "leaky_slope": 0.0
    }
    presets = {"other": {"model": {"num_layers": 9}}, "fits": {"model": fits}}
    stages.write_text(json.dumps({"default_preset": "other", "presets": presets}))
    chosen = plan(save(tmp_path, state(config(kv_sharing="none"))), config_file=stages)
    assert chosen.origins["model.leaky_slope"] == "preset fits, which has the file's shape"
    assert chosen.origins["model.mask_document_boundaries"] == "the pull request's script"
    given = plan(save(tmp_path, state(config())), preset="fits", config_file=stages)
    assert given.origins["model.leaky_slope"] == "preset fits" and given.assumed["model.leaky_slope"] == 0.0
    assert given.inferred["kv_sharing"] == "all"  # the file decides, whatever the preset says


def test_a_set_that_the_file_contradicts_is_refused(tmp_path):
    file = save(tmp_path, state(config()))
    with pytest.raises(ConfigError, match=r"model\.num_layers=12: the file shows 4"):
        plan(file, "model.num_layers=12")
    assert plan(file, "model.num_layers=4").inferred["num_layers"] == 4


def test_a_head_that_equals_the_table_is_a_tied_one(tmp_path):
    tensors = state(config())
    planned = plan(save(tmp_path, tensors | {"lm_head.weight": tensors["tok_emb.weight"].clone()}))
    assert planned.inferred["tied_embeddings"] is True
    assert run_job(planned.job).artifact.manifest.provenance["ignored"] == ["lm_head.weight"]
    untied = plan(save(tmp_path, tensors | {"lm_head.weight": tensors["tok_emb.weight"] + 1}))
    assert untied.inferred["tied_embeddings"] is False
    assert "output_head.weight" in load_weights(run_job(untied.job).artifact)


class Evil:
    def __reduce__(self):
        return (exec, ("raise SystemExit('ran')",))


@pytest.mark.parametrize(
    "kind", ["code", "pickled", "text", "empty", "cut", "list", "numbers", "nan", "integers", "huge view", "sparse"]
)
def test_hostile_files_are_errors_and_nothing_runs(tmp_path, kind):
    path = tmp_path / "final_model.pt"
    tensors = state(config())
    if kind == "code":
        torch.save({"tok_emb.weight": Evil()}, path)
    elif kind == "pickled":
        path.write_bytes(pickle.dumps(Evil()))
    elif kind == "text":
        path.write_text("not a checkpoint")
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "cut":
        save(tmp_path, tensors)
        path.write_bytes(path.read_bytes()[:5000])
    elif kind == "list":
        torch.save([torch.zeros(3)], path)
    elif kind == "numbers":
        torch.save({"tok_emb.weight": 3}, path)
    elif kind == "nan":
        tensors["smear.gate"][3] = float("nan")
        save(tmp_path, tensors)
    elif kind == "integers":
        save(tmp_path, tensors | {"smear.gate": torch.zeros(32, dtype=torch.int64)})
    elif kind == "huge view":
        save(tmp_path, tensors | {"tok_emb.weight": torch.zeros(1).expand(60_000, 30_000)})
    else:
        save(tmp_path, tensors | {"smear.gate": torch.zeros(32).to_sparse()})
    assert main(["import", str(path), "-o", str(tmp_path / "out"), "-q"]) in (2, 3)
    assert not (tmp_path / "out").exists()


def test_the_command_scores_what_it_imported(chain, tmp_path, monkeypatch, capsys):
    """The chain's own weights, renamed, score what the chain's trained model scores."""
    monkeypatch.chdir(tmp_path)
    weights = load_weights(chain.trained)
    own = chain.job("train", "unused", data=chain.data).config.model
    file = save(tmp_path, {theirs(name, own): tensor for name, tensor in weights.items()}, "their_model.pt")
    score = chain.run("evaluate", str(tmp_path / "e"), inherit=chain.trained, model=chain.trained, data=chain.data)
    arguments = ["import", str(file), "--config", str(chain.folder / "stages.yaml"), "--preset", "demo"]
    assert main([*arguments, "--check", str(chain.data.path), "--json", "-q"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["artifact"] == "artifacts/their_model/import" and answer["kind"] == "trained_model"
    assert answer["metrics"]["val_bpb"] == score.manifest.metrics["val_bpb"]
    assert answer["inferred"]["num_layers"] == 2 and answer["assumed"]["model.rope_fraction"] == 0.25
    assert main([*arguments, "--check", str(chain.data.path)]) == 0
    shown = capsys.readouterr().out
    assert "names and shapes" in shown and "assumed: " in shown and "val_bpb" in shown
    assert main(["quantize", "artifacts/their_model/import", "-q"]) == 0
    assert main(["pack", "artifacts/their_model/quantize", "-q"]) == 0


def test_a_file_that_is_not_there_and_a_dry_run(tmp_path, capsys):
    assert main(["import", str(tmp_path / "none.pt"), "-q"]) == 2
    file = save(tmp_path, state(config()))
    assert main(["import", str(file), "-o", str(tmp_path / "out"), "--dry-run"]) == 0
    assert "would run" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()
