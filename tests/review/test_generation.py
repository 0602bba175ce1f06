"""`generate` from every kind of model."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from golfpipe.cli.app import main


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
