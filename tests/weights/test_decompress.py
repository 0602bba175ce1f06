"""Payloads that no compress writes, numbers at the ends of their types, and types that PyTorch warns of."""

import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from states import gaussian, same_bits

from golfpipe import compress, decompress
from golfpipe.codec.container import encode_payload
from golfpipe.codec.pieces import Piece
from golfpipe.codec.state import DTYPE_BYTES
from golfpipe.errors import ArtifactError

FLOAT_TYPES = [name for name in DTYPE_BYTES if "float" in name]
OTHER_TYPES = [name for name in DTYPE_BYTES if "float" not in name]


def floats(name: int, count: int, value: float = 1.0) -> Piece:
    return Piece(name=str(name), shape=(count,), bits=32, floats=np.full(count, value, dtype=np.float32))


def raw(name: int, count: int, dtype: type[np.unsignedinteger] = np.uint8) -> Piece:
    bits = 100 + 8 * np.dtype(dtype).itemsize
    return Piece(name=str(name), shape=(count,), bits=bits, raw=np.ones(count, dtype=dtype))


def payload(dtype: str, shape: list[int], *pieces: Piece) -> bytes:
    return encode_payload({"weights": [["t", dtype, shape, len(pieces), 0]]}, pieces, coder="range")


@pytest.mark.parametrize("dtype", OTHER_TYPES)
@pytest.mark.parametrize("shape", [[], [1], [0], [2, 3], [5, 0]])
def test_a_float_piece_never_belongs_to_a_type_that_is_no_float(dtype, shape):
    for count in {max(1, math.prod(shape)), 1, 6}:
        with pytest.raises(ArtifactError, match="tensor 't'"):
            decompress(payload(dtype, shape, floats(0, count)))


@pytest.mark.parametrize("dtype", DTYPE_BYTES)
def test_pieces_fit_their_tensor_exactly_or_are_refused(dtype):
    width = DTYPE_BYTES[dtype]
    for shape in ([], [0], [3], [2, 0], [4, 2]):
        count = math.prod(shape)
        for num_bytes in {0, 1, count, count * width, count * width + 1, count * width + 8}:
            pieces = [raw(0, num_bytes)] if num_bytes else []
            if num_bytes == count * width:
                assert decompress(payload(dtype, shape, *pieces))["t"].shape == torch.Size(shape)
            else:
                with pytest.raises(ArtifactError, match="tensor 't'"):
                    decompress(payload(dtype, shape, *pieces))
    whole = decompress(payload(dtype, [4], raw(0, 4 * width)))["t"]
    cut = payload(dtype, [4], *(raw(number, count) for number, count in enumerate((4 * width - 3, 1, 2))))
    assert same_bits(decompress(cut)["t"], whole)
    with pytest.raises(ArtifactError, match="of one kind"):
        decompress(payload(dtype, [4], raw(0, 3 * width), floats(1, 1)))


@pytest.mark.parametrize("shape", [[1 << 39, 1 << 39, 0], [0, 1 << 39, 2], [1 << 50], [0] * 65, [True], [-1]])
def test_shapes_that_no_tensor_has_are_refused(shape):
    with pytest.raises(ArtifactError, match="no line of a state dict"):
        decompress(payload("float32", shape))


@pytest.mark.parametrize("dtype", FLOAT_TYPES)
def test_a_weight_beyond_a_type_becomes_its_largest_number(dtype):
    kind = getattr(torch, dtype)
    most = min(torch.finfo(kind).max, torch.finfo(torch.float32).max)
    above = min(most * 1.002, torch.finfo(torch.float32).max)
    pieces = [floats(0, 1, above), floats(1, 1, -above), floats(2, 1, most)]
    found = decompress(payload(dtype, [3], *pieces))["t"].double().abs()
    assert found.tolist() == [most] * 3


def test_codes_beside_the_largest_number_come_back_finite():
    for dtype in (torch.float16, torch.float8_e4m3fnuz, torch.float8_e5m2, torch.bfloat16):
        most = torch.finfo(dtype).max if dtype != torch.bfloat16 else 2.0**39
        weight = (gaussian(96, 100).sign() * most).to(dtype)
        weight[0] = gaussian(100, deviation=most / 4).to(dtype)
        restored = decompress(compress({"w": weight}, bits=2.0, rules={"w": "coded"}))["w"]
        assert restored.double().isfinite().all() and float(restored.double().abs().max()) <= torch.finfo(dtype).max


def test_no_type_makes_pytorch_warn():
    # PyTorch warns once in a process, so that another test could have used the warning up.
    script = """
import torch, golfpipe
bits = torch.arange(32, dtype=torch.uint8)
state = {name: bits.view(getattr(torch, name)) for name in ("complex32", "complex64", "float8_e8m0fnu", "uint16")}
state |= {f"{name}.empty": tensor[:0] for name, tensor in state.items()}
for name, tensor in golfpipe.decompress(golfpipe.compress(state, bits=3.0, rules={"*": "exact"})).items():
    assert tensor.dtype == state[name].dtype and tensor.shape == state[name].shape
    assert not len(tensor) or torch.equal(tensor.view(torch.uint8), bits)
"""
    subprocess.run([sys.executable, "-W", "error", "-c", script], check=True)
