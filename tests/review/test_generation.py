"""`generate` from every kind of model."""

from __future__ import annotations

import io
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from terminal import in_terminal

from golfpipe.cli.app import main
from golfpipe.review import generation
from reliability.repair import repair_folder


def _text(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["generate", *words, "--tokens", "12", "--threads", "1"]) == 0
    return capsys.readouterr().out


def test_every_kind_of_model_speaks(
    chain: Any, fresh: Callable[[str], str], capsys: pytest.CaptureFixture[str]
) -> None:
    adapted = chain.run("ttt", fresh("t"), "ttt.cosine.epochs=1", model=chain.packed, data=chain.data)
    for model in (chain.trained, chain.quantized, chain.packed, adapted):
        assert _text(capsys, str(model.path), "--prompt", "bada ").startswith("bada ")
    assert _text(capsys, str(chain.packed.path)) == _text(capsys, str(chain.quantized.path))


def test_the_seed_decides_and_json_holds_the_text(chain: Any, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(chain.packed.path)
    first = _text(capsys, path, "--seed", "1")
    assert first == _text(capsys, path, "--seed", "1") != _text(capsys, path, "--seed", "2")
    answer = json.loads(_text(capsys, path, "--seed", "1", "--json"))
    assert answer["text"] + "\n" == first == _text(capsys, path, "--seed", "1", "-q")
    assert _text(capsys, path, "--seed", "1", "--temperature", "0") == _text(capsys, path, "--top-k", "1")


def test_mistakes(chain: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["generate", str(chain.data.path)]) == 3
    assert main(["generate", str(chain.packed.path), "--tokens", "0"]) == 2
    assert main(["generate", str(chain.packed.path), "--data", "nowhere"]) == 2
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("words", [["generate"], ["ttt", "--set", "ttt.method=score_first_sgd"], ["evaluate"]])
def test_weights_that_overflow_are_said(
    chain: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    model = tmp_path / "train"
    shutil.copytree(chain.trained.path, model)
    weights = model / "ema.safetensors"
    with safe_open(weights, "pt") as file:
        tensors, metadata = {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118
    save_file({name: torch.full_like(tensor, 1e20) for name, tensor in tensors.items()}, weights, metadata=metadata)
    repair_folder(model, weights)
    assert main([words[0], str(model), *words[1:], "--threads", "1", "-q"]) == 1
    said = capsys.readouterr().err
    assert "bug" not in said and ("no probabilities" in said or "not finite" in said)


def _typed(chain: Any, monkeypatch: pytest.MonkeyPatch, content: bytes, *words: str) -> int:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content), encoding="utf-8"))
    return main(["generate", str(chain.packed.path), "--interactive", "--tokens", "12", "--threads", "1", *words])


def test_lines_of_stdin_go_on_as_prompts_would_and_the_model_is_loaded_once(
    chain: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(chain.packed.path)
    wanted = [
        _text(capsys, path, "--prompt", prompt, "--seed", str(7 + number))
        for number, prompt in enumerate(("bada ", "", "bada ", "x\ufffdy"))
    ]
    loads = []
    real = generation.load_weights
    monkeypatch.setattr(generation, "load_weights", lambda source: loads.append(source) or real(source))
    assert _typed(chain, monkeypatch, b"bada \n\nbada \nx\xffy", "--seed", "7") == 0
    captured = capsys.readouterr()
    assert captured.out == "".join(wanted) and captured.err == "" and len(loads) == 1
    assert wanted[0] != wanted[2]  # the same line again is another text


def test_interactive_excludes_what_it_cannot_do(
    chain: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in (["--json"], ["--prompt", "a"]):
        assert _typed(chain, monkeypatch, b"bada\n", *words) == 2
        assert f"--interactive and {words[0]} exclude each other" in capsys.readouterr().err


@pytest.mark.skipif(os.name != "posix", reason="needs a terminal")
@pytest.mark.parametrize(("end", "code"), [(b"\x04", 0), (b"\x03", 130)])
def test_ctrl_d_and_ctrl_c_leave_a_terminal(chain: Any, end: bytes, code: int) -> None:
    words = [sys.executable, "-m", "golfpipe", "generate", str(chain.packed.path), "--interactive", "--tokens", "3"]
    steps = [(b"> ", b"ba\x1b da\n"), (b"\n> ", end)]
    shown, left = in_terminal(words, steps)
    assert left == code, shown
    assert shown.count(b"> ") == 2 and b"Ctrl-D ends" in shown
    assert (b"error: interrupted" in shown) == (code == 130) and b"Traceback" not in shown
