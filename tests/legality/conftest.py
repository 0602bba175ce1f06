"""The small chain of the stage tests, trained a little longer so that attention matters, with a plain evaluation."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch
from small_chain import write_small_stages, write_texts

_SPEC = importlib.util.spec_from_file_location(
    "chain_fixtures", Path(__file__).resolve().parents[1] / "stages" / "conftest.py"
)
assert _SPEC is not None and _SPEC.loader is not None
_FIXTURES = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(_FIXTURES)


@pytest.fixture(scope="session")
def chain(tmp_path_factory):
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("legality")
    write_small_stages(folder)
    write_texts(folder)
    chain = _FIXTURES.Chain(folder)
    files = {"files": [folder / "my-texts"], "tokenizer": None, "processes": 1}
    chain.data = chain.run("data-tokenize", "data", "data.val_fraction=0.3", arguments=files)
    chain.trained = chain.run("train", "a/train", "train.max_steps=60", data=chain.data)
    chain.quantized = chain.run("quantize", "a/quantize", inherit=chain.trained, model=chain.trained)
    chain.packed = chain.run("pack", "a/pack", inherit=chain.quantized, model=chain.quantized)
    return chain


@pytest.fixture(scope="session")
def evaluation(chain):
    """Of the packed model, by the sliding window."""
    return chain.run("evaluate", "a/evaluate-pack", inherit=chain.packed, model=chain.packed, data=chain.data)
