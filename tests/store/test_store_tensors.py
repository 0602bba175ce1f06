"""Tensor files: equal content gives equal bytes in every process, and readers check what they get."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
import torch

from golfpipe.errors import ArtifactError
from golfpipe.store.arrays import arrays_from_bytes, arrays_to_bytes, metadata_from_bytes
from golfpipe.store.tensors import (
    check_tensors,
    tensors_from_bytes,
    tensors_to_bytes,
)

TENSORS = {"b": torch.arange(6).reshape(2, 3), "a": torch.tensor([1.5, -2.0])}
METADATA = {"z": 1, "a": [1, 2], "m": {"y": None, "x": "text"}}

WRITE = """
import hashlib, torch
from golfpipe.store.tensors import tensors_to_bytes
tensors = {"b": torch.arange(6).reshape(2, 3), "a": torch.tensor([1.5, -2.0])}
metadata = {"z": 1, "a": [1, 2], "m": {"y": None, "x": "text"}}
print(hashlib.sha256(tensors_to_bytes(tensors, metadata)).hexdigest())
"""


def test_round_trip() -> None:
    content = tensors_to_bytes(TENSORS, METADATA)
    assert {k: v.tolist() for k, v in tensors_from_bytes(content, "x").items()} == {
        k: v.tolist() for k, v in TENSORS.items()
    }
    assert metadata_from_bytes(content, "x") == METADATA
    assert metadata_from_bytes(tensors_to_bytes(TENSORS), "x") == {}


def test_bytes_are_the_same_in_another_process() -> None:
    environment = os.environ | {"PYTHONHASHSEED": "7"}
    other = subprocess.run([sys.executable, "-c", WRITE], env=environment, capture_output=True, text=True, check=True)
    assert other.stdout.strip() == hashlib.sha256(tensors_to_bytes(TENSORS, METADATA)).hexdigest()


def test_arrays_have_the_bytes_of_tensors() -> None:
    arrays = {name: tensor.numpy() for name, tensor in TENSORS.items()} | {
        "half": np.array([[0.5], [2.0]], dtype=np.float16),
        "codes": np.arange(-4, 4, dtype=np.int8).reshape(4, 2).T,
        "scalar": np.array(3.5, dtype=np.float32),
    }
    content = arrays_to_bytes(arrays, METADATA)
    assert content == tensors_to_bytes({name: torch.from_numpy(a.copy()) for name, a in arrays.items()}, METADATA)
    back = arrays_from_bytes(content, "x")
    assert back.keys() == arrays.keys()
    for name, array in arrays.items():
        assert back[name].dtype == array.dtype
        np.testing.assert_array_equal(back[name], array)


@pytest.mark.parametrize("read", [tensors_from_bytes, arrays_from_bytes])
@pytest.mark.parametrize("cut", [0, 4, 9, 40, -1])
def test_cut_files_are_refused(cut: int, read: Callable[[bytes, str], object]) -> None:
    content = tensors_to_bytes(TENSORS, METADATA)
    with pytest.raises(ArtifactError, match="x"):
        read(content[:cut], "x")


@pytest.mark.parametrize("content", [b"", b"\xff" * 8, b"\x02" + b"\0" * 7 + b"[]", b"\x03" + b"\0" * 7 + b"{,}"])
def test_metadata_of_something_else(content: bytes) -> None:
    with pytest.raises(ArtifactError, match="x"):
        metadata_from_bytes(content, "x")


def test_check_names_shapes_dtypes_and_values() -> None:
    shapes = {"a": (2,), "b": (2, 3)}
    check_tensors(TENSORS, shapes, "x")
    for tensors, message in [
        ({"a": TENSORS["a"]}, "tensor b is missing"),
        (TENSORS | {"c": torch.zeros(1)}, "tensor c does not belong"),
        (TENSORS | {"a": torch.zeros(3)}, r"shape \[3\], expected \[2\]"),
        (TENSORS | {"a": torch.tensor([1.0, float("nan")])}, "tensor a holds NaN"),
    ]:
        with pytest.raises(ArtifactError, match=message):
            check_tensors(tensors, shapes, "x")
    with pytest.raises(ArtifactError, match=r"tensor b is torch\.int64"):
        check_tensors(TENSORS, shapes, "x", dtype=torch.float32)
