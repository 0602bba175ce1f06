"""A reader written from docs/file-formats.md alone gives, bit for bit, what the package reads: the page is enough."""

from __future__ import annotations

import ast
import random
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import writer
from random_states import random_state
from reader import read_pieces
from safetensors.numpy import load_file
from small_chain import ROOT
from state_dicts import EIGHT_BITS, read_state_dict
from torch import Tensor, nn

from golfpipe import Calibration, compress, decompress, split
from golfpipe.errors import ArtifactError
from golfpipe.loading.weights import load_weights

PAGE = (ROOT / "docs" / "file-formats.md").read_text(encoding="utf-8")
EXAMPLES = {
    name: bytes.fromhex("".join(line[:48] for line in block.splitlines()))
    for name, block in re.findall(r"```text example=(\S+)\n(.*?)```", PAGE, re.DOTALL)
}
CALIBRATED = ("quantize.calibration=train", "quantize.calibration_tokens=1024")
QUANTIZED = {
    "grid 4 and 6": (),
    "grid 2, 3, 5, 8": tuple(
        f"quantize.{words}" for words in ("mlp.bits=2", "attention.bits=3", "token_table.bits=5", "ngram.bits=8")
    ),
    "grid 7, fp16 and fp32": ("quantize.mlp.bits=7", "quantize.attention.bits=16", "quantize.small.bits=32"),
    "gptq": ("quantize.method=gptq", *CALIBRATED),
    "steps": ("quantize.mlp.step=0.5", "quantize.attention.step=1.5"),
    "rate": ("quantize.method=rate", "quantize.target_bits=3"),
    "trellis of 4": ("quantize.method=trellis", "quantize.trellis_states=4", "quantize.target_bits=2"),
    "trellis of 8": ("quantize.method=trellis", "quantize.target_bits=4", *CALIBRATED),
}


def _bits(tensor: Tensor) -> tuple[str, tuple[int, ...], bytes]:
    """(type, shape, bytes) of a tensor."""
    data = tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes() if tensor.numel() else b""
    return str(tensor.dtype).removeprefix("torch."), tuple(tensor.shape), data


def _package(data: bytes) -> dict[str, tuple[str, tuple[int, ...], bytes]] | None:
    """What the package makes of a state dict's payload; None where it refuses."""
    try:
        return {name: _bits(tensor) for name, tensor in decompress(data).items()}
    except ArtifactError:
        return None


def _reader(data: bytes) -> dict[str, tuple[str, tuple[int, ...], bytes]] | None:
    try:
        return {name: (tensor.dtype, tensor.shape, tensor.data) for name, tensor in read_state_dict(data).items()}
    except ValueError:
        return None


def test_the_reader_shares_no_code_with_the_package() -> None:
    imported = set()
    for name in ("reader.py", "state_dicts.py"):
        for node in ast.walk(ast.parse((Path(__file__).parent / name).read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add((node.module or "").partition(".")[0])
    assert imported - sys.stdlib_module_names == {"numpy", "reader"}


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_examples_of_the_page(name: str) -> None:
    expected: dict[str, list[str]] = {}
    block = re.search(rf"```text weights={name}\n(.*?)```", PAGE, re.DOTALL)
    assert block
    for line in block[1].splitlines():
        tensor, *weights = line.split()
        expected.setdefault(tensor, []).extend(weights)
    _, pieces = read_pieces(EXAMPLES[name])
    assert {piece.name: [str(weight) for weight in piece.numbers.flat] for piece in pieces} == expected


@pytest.mark.parametrize("quantized", QUANTIZED)
def test_packed_models(chain, fresh, quantized: str) -> None:
    codes = chain.run("quantize", fresh("quantize"), *QUANTIZED[quantized], model=chain.trained, data=chain.data)
    for coder in ("range", "nibble"):
        packed = chain.run("pack", fresh(coder), f"pack.coder={coder}", inherit=codes, model=codes)
        expected = load_weights(packed)
        model, pieces = read_pieces(load_file(packed.file("packed.safetensors"))["payload"].tobytes())
        assert model["model_dim"] == 32
        assert {piece.name for piece in pieces} == set(expected)
        for piece in pieces:
            assert ("float32", piece.numbers.shape, piece.numbers.tobytes()) == _bits(expected[piece.name]), piece.name


@pytest.mark.filterwarnings("ignore:ComplexHalf support is experimental")
@pytest.mark.parametrize("seed", range(12))
def test_state_dicts_of_random_tensors(seed: int) -> None:
    state, rules = random_state(seed)
    method, bits = ("trellis", "rate")[seed % 2], 1.5 + seed % 6
    data, weights = compress(state, bits=bits, method=method, rules=rules, return_weights=True)
    tensors = _reader(data)
    assert tensors == {name: _bits(weight) for name, weight in weights.items()} == _package(data)
    assert list(tensors or ()) == list(state)


def test_two_names_of_one_tensor_and_the_classes_of_a_calibration() -> None:
    generator = torch.Generator().manual_seed(0)
    model = nn.Sequential(nn.Linear(96, 192), nn.Tanh(), nn.Linear(192, 96), nn.Linear(96, 96))
    model[3].weight = nn.Parameter(torch.randn(96, 96, generator=generator) * torch.logspace(-3, 3, 96))
    with Calibration(model) as calibration:
        for _ in range(2):
            calibration.observe(model(torch.randn(16, 96, generator=generator) * torch.logspace(-2, 2, 96)))
    state = {"first": model[0].weight, **model.state_dict()}
    data = compress(state, bits=3.0, calibration=calibration, rules={"2.weight": split(1, [64, 128])})
    tensors = read_state_dict(data)
    assert tensors["first"] is tensors["0.weight"]
    assert _reader(data) == _package(data) is not None


@pytest.mark.parametrize("bits", [0, -4, -8])
@pytest.mark.parametrize("index", range(7))
def test_every_other_computed_table_and_escapes(index: int, bits: int) -> None:
    """The tables with an odd log scale for odd indices, with an even one for the others."""
    source = random.Random(index)
    log_scales = range(-32 + index % 2, 89, 2)
    places = [[1, -1, 0, *(source.uniform(-1, 1) ** 3 for _ in range(5))] for _ in log_scales]
    data = writer.one_class_per_row(log_scales, index, bits, places)
    assert _reader(data) == _package(data) is not None


@pytest.mark.parametrize("name", EXAMPLES)
def test_damage_is_refused_or_read_alike(name: str) -> None:
    """Streams with changed bytes and a right checksum: both readers refuse them, or both give the same weights."""
    source = random.Random(name)
    data = EXAMPLES[name] if name == "exact" else writer.as_state_dict(EXAMPLES[name])
    assert _reader(data) == _package(data) is not None
    version, coder, header, streams = writer.parts(data)
    refused = 0
    for _ in range(80):
        changed = bytearray(streams)
        for place in source.sample(range(len(streams)), source.randint(1, 2)):
            changed[place] = source.choice((changed[place] ^ 1 << source.randrange(8), source.randrange(256), 0, 255))
        damaged = writer.payload(version, coder, header, bytes(changed))
        assert _reader(damaged) == _package(damaged), bytes(changed).hex(" ")
        refused += _reader(damaged) is None
    assert 0 < refused < 80


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64", *EIGHT_BITS, "float8_e8m0fnu"])
def test_rounding(dtype: str) -> None:
    """Numbers of all sizes, those of the type, and those halfway between two of the type and beside them."""
    generator = np.random.default_rng(0)
    weights = [generator.standard_normal(2000) * np.exp(generator.uniform(-20, 14, 2000)), np.array([0.0, -0.0])]
    target = getattr(torch, dtype)
    if target.itemsize < 4:
        codes = torch.arange(1 << 8 * target.itemsize).to(torch.uint8 if target.itemsize == 1 else torch.uint16)
        numbers = np.unique(codes.view(target).double().numpy())
        numbers = numbers[np.isfinite(numbers)][:: max(1, len(numbers) // 3000)]
        halves = ((numbers[1:] + numbers[:-1]) / 2).astype(np.float32)
        weights += [numbers, halves, np.nextafter(halves, np.float32(0)), np.nextafter(halves, np.float32(np.inf))]
    flat = np.concatenate(weights).astype("<f4")
    flat = flat[(np.abs(flat) > 1e-37) | (flat == 0)]  # PyTorch rounds fp32's subnormal numbers to float8_e8m0fnu oddly
    stream = writer.lzma2(flat.tobytes())
    header = {
        "model": {"weights": [["w", dtype, [len(flat)], 1, 0]]},
        "tensors": [["0", [len(flat)], 32, [len(stream)]]],
    }
    data = writer.payload(2, 0, header, stream)
    assert _reader(data) == _package(data) == {"w": _bits(torch.from_numpy(flat).to(target))}
