"""Artifacts of every format that there was: read as they were meant, or refused with the command
that writes them again."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from golfpipe.cli.app import main
from golfpipe.data.token_data import load_shards, load_tokenizer
from golfpipe.errors import ArtifactError
from golfpipe.loading.weights import load_weights
from golfpipe.review.audit import audit_path
from golfpipe.store.artifact import open_artifact
from golfpipe.store.manifest import SCHEMA
from golfpipe.submission.comparison import compare_evaluations

FORMATS = Path(__file__).resolve().parents[1] / "fixtures" / "formats"
KINDS = ("data", "train", "quantize", "pack", "ttt", "evaluate-pack", "submit")


@pytest.fixture(params=[f"schema{number}" for number in range(1, SCHEMA + 1)])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    shutil.copytree(FORMATS / request.param, tmp_path / "old")
    return tmp_path / "old"


def test_every_schema_is_kept_and_read(folder):
    assert sorted(path.name for path in folder.iterdir()) == sorted(KINDS)
    trained, quantized, packed, adapted = (
        load_weights(open_artifact(folder / name)) for name in ("train", "quantize", "pack", "ttt")
    )
    assert trained.keys() == quantized.keys() == packed.keys() == adapted.keys()
    assert all(torch.equal(packed[name], weight) for name, weight in quantized.items())
    data = open_artifact(folder / "data")
    vocabulary = load_tokenizer(data).vocab_size
    shards = [*load_shards(data, "train"), *load_shards(data, "val")]
    assert all(0 <= int(shard[:].max()) < vocabulary for shard in shards)
    evaluation = folder / "evaluate-pack"
    assert compare_evaluations(evaluation, evaluation, resamples=100).paired.difference == 0
    for name in KINDS:
        assert audit_path(folder / name).digest == open_artifact(folder / name).manifest.digest


def test_a_step_goes_on_from_every_schema(folder, capsys):
    assert main(["pack", str(folder / "quantize"), "-o", str(folder / "again"), "-q"]) == 0
    old, new = (open_artifact(folder / name).read("packed.safetensors") for name in ("pack", "again"))
    assert old == new
    assert open_artifact(folder / "again").manifest.schema == SCHEMA


def test_a_packed_model_of_version_1_is_refused_with_the_command():
    with pytest.raises(ArtifactError, match=r"format version 1, this program reads \(2, 3\)") as caught:
        load_weights(open_artifact(FORMATS / "payload1" / "pack"))
    assert caught.value.hint is not None and caught.value.hint.startswith("write it again: golfpipe pack ")
    assert caught.value.exit_code == 3


def test_fixtures_stay_small():
    assert sum(path.stat().st_size for path in FORMATS.rglob("*") if path.is_file()) < 300_000
