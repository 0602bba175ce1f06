"""`unpack`: the weights of the packed file, to the last fp16 bit, readable without golfpipe."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import safetensors
import safetensors.torch
import torch

from golfpipe.cli.app import main
from golfpipe.errors import ArtifactError, StageFailed, UsageError
from golfpipe.loading.pieces import model_config
from golfpipe.loading.weights import load_weights
from golfpipe.model.config import parameter_shapes
from golfpipe.review import unpack
from golfpipe.review.unpack import unpack_model


def test_other_tools_read_the_packed_weights(chain: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "sub" / "plain.safetensors"
    assert main(["unpack", str(chain.packed.path), "-o", str(path), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    tensors, weights = safetensors.torch.load_file(path), load_weights(chain.packed)
    assert list(weights) == list(parameter_shapes(model_config(chain.packed)))
    assert tensors.keys() == weights.keys()
    for name, weight in weights.items():
        assert tensors[name].dtype == torch.float16 and torch.equal(tensors[name], weight.half())
    with safetensors.safe_open(path, "pt") as opened:
        metadata = json.loads(opened.metadata()["golfpipe"])
    assert metadata["packed_digest"] == answer["source_digest"] == chain.packed.manifest.digest
    assert metadata["model"] == chain.packed.manifest.model
    assert answer["metrics"]["file_bytes"] == path.stat().st_size
    assert 0 < answer["metrics"]["rounded_share"] < 1
    assert path.read_bytes() == unpack_model(chain.packed.path, tmp_path / "again.safetensors").path.read_bytes()


def test_damage_is_found(chain: Any, tmp_path: Path) -> None:
    copy = tmp_path / "pack"
    copy.mkdir()
    for name in ("manifest.json", "packed.safetensors", "sizes.json"):
        (copy / name).write_bytes((chain.packed.path / name).read_bytes())
    content = bytearray((copy / "packed.safetensors").read_bytes())
    content[-5] ^= 1
    (copy / "packed.safetensors").write_bytes(content)
    with pytest.raises(ArtifactError, match="sha256 differs"):
        unpack_model(copy)
    assert not (tmp_path / "unpacked.safetensors").exists()


def test_a_file_of_another_model_or_of_something_else_is_never_replaced(chain: Any, tmp_path: Path) -> None:
    path = tmp_path / "plain.safetensors"
    unpack_model(chain.packed.path, path)
    unpack_model(chain.packed.path, path)  # its own file is made again
    other = tmp_path / "other.safetensors"
    safetensors.torch.save_file({"a": torch.zeros(2)}, other, {"golfpipe": json.dumps({"packed_digest": "0" * 64})})
    text = tmp_path / "notes.txt"
    text.write_text("mine")
    for taken, message in ((other, "another model"), (text, "something else")):
        before = taken.read_bytes()
        with pytest.raises(UsageError, match=message):
            unpack_model(chain.packed.path, taken)
        assert taken.read_bytes() == before


def test_what_is_no_output_or_no_packed_model_is_refused(chain: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="unpack writes one file"):
        unpack_model(chain.packed.path, tmp_path)
    with pytest.raises(ArtifactError, match="kind trained_model, expected packed_model"):
        unpack_model(chain.trained.path)


def test_weights_beyond_fp16_are_an_error(chain: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpack, "load_weights", lambda artifact: {"w": torch.tensor([1e6])})
    with pytest.raises(StageFailed, match="beyond the largest fp16"):
        unpack_model(chain.packed.path, tmp_path / "x.safetensors")
