"""Which fast ways a machine offers, and a run where one is missing."""

from __future__ import annotations

import json
import os

import pytest
import torch

from golfpipe.stages.base import Context, run_job
from golfpipe.stages.fast_paths import (
    compile_cache,
    compile_obstacle,
    fast_paths,
    faster_precision,
    keep_compiled_code,
)  # fmt: skip
from golfpipe.stages.reporter import SilentReporter

CPU = torch.device("cpu")


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
    keep_compiled_code()
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == str(tmp_path / "golfpipe" / "compiled")
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "/elsewhere")
    assert compile_cache() == "/elsewhere"


class Notes(SilentReporter):
    def __init__(self):
        self.notes, self.warnings = [], []

    def note(self, text):
        self.notes.append(text)

    def warn(self, text):
        self.warnings.append(text)


def test_a_run_that_cannot_compile_says_so_once_and_goes_on(chain, fresh, no_compiler):
    notes = Notes()
    settings = ("train.max_steps=2", "train.compile=on")
    job = chain.job("train", fresh("uncompiled"), *settings, data=chain.data, context=Context(reporter=notes))
    log = (run_job(job).artifact.path / "log.jsonl").read_text().splitlines()
    assert [line for line in notes.warnings if "compile" in line] == [
        "train.compile=on: no C++ compiler (g++, clang++, c++); training goes on uncompiled"
    ]
    assert any(line.startswith("flash attention on") for line in notes.notes)
    start = json.loads(log[0])
    assert start["compiled"] is False
    assert start["fast_paths"] == {path.name: path.on for path in fast_paths(CPU)} | {
        "bf16": False
    }  # it trained in fp32


def test_auto_precision_is_the_faster_one_and_recorded(chain, fresh, monkeypatch):
    for tiles, instructions, width, expected in (
        (True, True, 32, "bf16"), (False, True, 512, "bf16"), (False, True, 128, "fp32"), (False, False, 512, "fp32"),
    ):  # fmt: skip
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda tiles=tiles: tiles)
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda found=instructions: found)
        assert faster_precision(CPU, width) == expected
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: True)
    auto, named = (
        chain.run("train", fresh(name), "train.max_steps=2", f"train.precision={name}", data=chain.data)
        for name in ("auto", "bf16")
    )
    assert auto.manifest.metrics["precision"] == named.manifest.metrics["precision"] == "bf16"
    assert auto.manifest.key != named.manifest.key
    mine, theirs = auto.read_tensors("ema.safetensors"), named.read_tensors("ema.safetensors")
    assert mine.keys() == theirs.keys() and all(torch.equal(mine[name], theirs[name]) for name in mine)
