"""When a stage compiles its network, what then runs compiled, and machines that cannot."""

from __future__ import annotations

import importlib
import json
import os
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch
from recording_reporter import RecordingReporter

from golfpipe.jobs.job import Context
from golfpipe.jobs.run import run_job
from golfpipe.loading.weights import COMPUTE_DTYPES
from golfpipe.machine import compiling
from golfpipe.machine import fast_paths as fast_paths_module
from golfpipe.machine.compiling import (
    AUTO_FLOPS,
    compile_cache,
    compile_obstacle,
    compiled_for,
    compiled_passes,
    compiles,
)
from golfpipe.machine.fast_paths import fast_paths, paths_taken
from golfpipe.model.config import ModelConfig
from golfpipe.model.network import build_network, initialize
from golfpipe.optim.config import OptimConfig
from golfpipe.training.config import TrainConfig
from golfpipe.training.token_stream import TokenStream
from golfpipe.training.trainer import Trainer

CPU = torch.device("cpu")
SMALL = ModelConfig(vocab_size=40, num_layers=2, model_dim=16, num_heads=2, num_kv_heads=1, mlp_ratio=2.0)
# From inside the compiler.
quiet = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::ResourceWarning")
needs_compiler = pytest.mark.skipif(compile_obstacle(CPU) is not None, reason="no C++ compiler")


@pytest.fixture
def no_compiler(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)


def test_a_missing_compiler_is_named(no_compiler, tmp_path, monkeypatch):
    assert compile_obstacle(CPU) == "no C++ compiler (g++, clang++, c++)"
    found = {path.name: path for path in fast_paths(CPU)}
    assert str(found["compile"]) == "compile off (no C++ compiler (g++, clang++, c++))"
    (tmp_path / "mine++").write_text("")
    (tmp_path / "mine++").chmod(0o755)
    monkeypatch.setenv("CXX", "mine++")
    assert compile_obstacle(CPU) is None


def test_compiled_code_is_kept_where_the_user_wants_it(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert compile_cache() == str(tmp_path / "golfpipe" / "compiled")
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "/elsewhere")
    assert compile_cache() == "/elsewhere"


def test_without_a_folder_for_compiled_code_it_goes_on_uncompiled(tmp_path, monkeypatch):
    def no_home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)
    monkeypatch.setattr(compiling.Path, "home", no_home)
    notes = RecordingReporter()
    assert not compiles("train.compile", "on", CPU, 1.0, notes)
    assert "TORCHINDUCTOR_CACHE_DIR" in notes.warnings[0] and "goes on uncompiled" in notes.warnings[0]
    assert {path.name: path.on for path in fast_paths(CPU)}["compile"] is False
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "file"))  # needs no home folder
    assert compile_cache() == str(tmp_path / "file")


@pytest.mark.parametrize("choice", ["on", "auto", "off"])
def test_a_folder_for_compiled_code_that_cannot_be_made_is_not_left_to_torch(tmp_path, monkeypatch, choice):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "file" / "cache"))
    notes = RecordingReporter()
    assert not compiles("train.compile", choice, CPU, 1.0, notes)
    assert "TORCHINDUCTOR_CACHE_DIR" not in os.environ  # or torch would fail with any optimizer
    assert [str(tmp_path / "file" / "cache") in line for line in notes.warnings] == [True] * (choice == "on")


def test_a_run_that_cannot_compile_says_so_once_and_goes_on(chain, fresh, no_compiler):
    notes = RecordingReporter()
    settings = ("train.max_steps=2", "train.compile=on")
    job = chain.job("train", fresh("uncompiled"), *settings, data=chain.data, context=Context(reporter=notes))
    log = (run_job(job).artifact.path / "log.jsonl").read_text().splitlines()
    assert [line for line in notes.warnings if "compile" in line] == [
        "train.compile=on: no C++ compiler (g++, clang++, c++); goes on uncompiled"
    ]
    assert any(line.startswith("flash attention on") for line in notes.notes)
    start = json.loads(log[0])
    assert start["compiled"] is False
    assert start["fast_paths"] == {path.name: path.on for path in fast_paths(CPU)} | {
        "bf16": False
    }  # it trained in fp32


@quiet
@needs_compiler
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_compiled_run_repeats_bit_for_bit(precision):
    """Threads meet at the rows of the tables: compiled code as it comes adds in the order in which they arrive."""
    threads, found = torch.get_num_threads(), []
    torch.set_num_threads(2)
    tokens = np.random.default_rng(0).integers(0, 40, 50_000).astype(np.uint16)
    settings = TrainConfig(max_steps=6, batch_tokens=4096, context_length=256, qat_start=1.0, precision=precision)
    dtype, model = COMPUTE_DTYPES[precision], replace(SMALL, model_dim=64)
    try:
        for _ in range(2):
            network = build_network(model, dtype)
            initialize(network, 0)
            trainer = Trainer(network, TokenStream([tokens]), settings, OptimConfig(), CPU, compiled=True)
            with compiled_passes(True, CPU, dtype, RecordingReporter()):
                for _ in range(6):
                    trainer.step()
            found.append({name: p.detach().clone() for name, p in network.named_parameters()})
        assert not torch.are_deterministic_algorithms_enabled()
        assert torch.utils.deterministic.fill_uninitialized_memory
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(tensor, found[1][name]) for name, tensor in found[0].items())


@pytest.fixture
def every_toolchain_works(monkeypatch):
    monkeypatch.setattr(compiling, "compile_obstacle", lambda device: None)
    monkeypatch.setattr(compiling, "_failure", lambda device: None)


@pytest.mark.parametrize(
    ("choice", "device", "flops", "expected"),
    [
        ("auto", "cpu", AUTO_FLOPS["cpu"] / 2, False),
        ("auto", "cpu", AUTO_FLOPS["cpu"] * 2, True),
        ("auto", "cuda", AUTO_FLOPS["cpu"] * 2, False),
        ("auto", "cuda", AUTO_FLOPS["cuda"] * 2, True),
        ("auto", "mps", AUTO_FLOPS["cuda"] * 2, False),
        ("on", "cpu", 1.0, True),
        ("off", "cuda", AUTO_FLOPS["cuda"] * 2, False),
    ],
)
def test_auto_compiles_where_that_pays(every_toolchain_works, choice, device, flops, expected):
    notes = RecordingReporter()
    assert compiles("ttt.compile", choice, torch.device(device), flops, notes) is expected
    assert notes.notes == ["compiling"] * expected and not notes.warnings


def test_a_broken_compiler_is_found_before_the_work_begins(tmp_path, monkeypatch):
    def fail(*given):
        raise RuntimeError("Python.h: No such file or directory")

    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(compiling, "compile_obstacle", lambda device: None)
    monkeypatch.setattr(torch, "compile", lambda function, dynamic: fail)
    notes = RecordingReporter()
    assert not compiles("train.compile", "on", CPU, 1.0, notes)
    assert notes.warnings == [
        f"train.compile=on: torch.compile fails with its cache in {tmp_path} (RuntimeError: Python.h: No such file or"
        " directory); goes on uncompiled"
    ]


def test_only_the_shape_that_recurs_is_compiled(monkeypatch):
    calls = []

    def compile_(function, dynamic):
        assert dynamic is False
        return lambda *given: calls.append(given[0].shape) or function(*given)

    monkeypatch.setattr(torch, "compile", compile_)
    double = compiled_for(lambda tokens, factor: tokens * factor, (2, 3))
    for shape in ((2, 3), (1, 3), (2, 2), (2, 3)):
        assert double(torch.ones(shape), 2).tolist() == (2 * torch.ones(shape)).tolist()
    assert calls == [(2, 3), (2, 3)]


@pytest.fixture(scope="module")
def no_compiled_code(tmp_path_factory):
    """A folder for compiled code that has none of earlier tests; the compiler's own headers are compiled in it once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path_factory.mktemp("compiled")))
        yield


def network_and_text(model=SMALL):
    network = build_network(model)
    initialize(network, 0)
    tokens = torch.from_numpy(np.random.default_rng(0).integers(0, 40, (2, 13)))
    return network, tokens[:, :-1], tokens[:, 1:]


@quiet
@needs_compiler
def test_compiled_scores_are_the_uncompiled_ones(no_compiled_code):
    network, inputs, targets = network_and_text()
    with torch.inference_mode():
        found = compiled_for(network.last_nats, (2, 12))(inputs, targets, 4)
        torch.testing.assert_close(found, network.last_nats(inputs, targets, 4), rtol=1e-5, atol=1e-6)


@quiet
@needs_compiler
def test_compiled_losses_are_the_uncompiled_ones(no_compiled_code):
    network, inputs, targets = network_and_text(replace(SMALL, num_layers=1))
    gradients = []
    for loss_of in (network, compiled_for(network, (2, 12))):
        network.zero_grad()
        loss_of(inputs, targets).backward()
        gradients.append([parameter.grad.clone() for parameter in network.parameters()])
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-4, atol=1e-6)


def test_weights_cast_once_score_as_weights_cast_in_every_pass():
    network, inputs, targets = network_and_text()
    network.compute_dtype = torch.bfloat16
    with torch.inference_mode():
        each_time = network.last_nats(inputs, targets, 5)
        assert torch.equal(network.to(torch.bfloat16).last_nats(inputs, targets, 5), each_time)


@pytest.mark.parametrize("stage", ["evaluate", "ttt"])
def test_stages_use_the_compiled_form(chain, fresh, every_toolchain_works, monkeypatch, stage):
    """Of whole batches alone; here the compiler does nothing but count."""
    counted = []
    monkeypatch.setattr(
        torch, "compile", lambda function, dynamic: lambda *given: counted.append(given[0].shape) or function(*given)
    )
    settings = (
        "evaluate.max_targets=200",
        "evaluate.batch_tokens=64",
        "evaluate.context_length=16",
        "evaluate.stride=8",
    )
    settings += ("ttt.method=cosine", "ttt.cosine.batch_sequences=4", "ttt.cosine.context_length=16", "ttt.epochs=2")
    results = [
        chain.run(
            stage,
            fresh(f"{stage}-{choice}"),
            *settings,
            f"{stage}.compile={choice}",
            model=chain.packed,
            data=chain.data,
        )
        for choice in ("off", "on")
    ]
    assert set(counted) == {(4, 16)}
    assert results[0].manifest.key == results[1].manifest.key
    assert results[0].manifest.digest == results[1].manifest.digest


@pytest.mark.parametrize("stage", ["train", "ttt"])
def test_stages_that_train_work_within_compiled_passes(chain, fresh, every_toolchain_works, monkeypatch, stage):
    entered = []

    @contextmanager
    def recorded(compiled, device, dtype, reporter):
        entered.append((compiled, device, dtype))
        yield
        entered.append("left")

    module = importlib.import_module(f"golfpipe.stages.{stage}")
    monkeypatch.setattr(module, "compiled_passes", recorded)
    monkeypatch.setattr(torch, "compile", lambda function, dynamic: function)
    inputs = {"data": chain.data} if stage == "train" else {"data": chain.data, "model": chain.packed}
    settings = ("evaluate.max_targets=64", "train.max_steps=1", "ttt.method=cosine", "ttt.epochs=1")
    settings += (f"{stage}.precision=bf16",)
    for choice, compiled in (("off", False), ("on", True)):
        chain.run(stage, fresh(f"{stage}-kernels-{choice}"), *settings, f"{stage}.compile={choice}", **inputs)
        assert entered == [(compiled, CPU, torch.bfloat16), "left"]
        entered.clear()


@pytest.mark.parametrize(
    ("precision", "compiled", "in_force", "expected"),
    [
        ("bf16", True, True, "attention backward on (golfpipe's kernel where compiled, lengths of 64 n)"),
        ("bf16", True, False, "attention backward off (it cannot be built)"),
        ("fp32", True, False, "attention backward off (train.precision=fp32)"),
        ("bf16", False, False, "attention backward off (train.compile=auto, too short a training)"),
    ],
)
def test_the_log_says_whether_the_own_backward_pass_is_in_force(monkeypatch, precision, compiled, in_force, expected):
    monkeypatch.setattr(fast_paths_module, "attention_obstacle", lambda: None)
    monkeypatch.setattr(fast_paths_module, "compile_obstacle", lambda device: None)
    monkeypatch.setattr(fast_paths_module, "attention_in_force", lambda: in_force)
    assert expected in map(str, paths_taken(CPU, precision, "auto", compiled))
    assert "attention backward" not in {
        path.name for path in paths_taken(torch.device("mps"), precision, "auto", compiled)
    }
