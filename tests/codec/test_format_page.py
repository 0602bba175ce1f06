"""docs/file-formats.md against the package: its example payloads, the weights under them, and its tables of numbers."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from golfpipe.codec import code_shapes
from golfpipe.codec.coders import CODERS
from golfpipe.codec.container import decode_payload, encode_payload
from golfpipe.codec.formats import FORMATS, format_of
from golfpipe.codec.pieces import Piece, format_name, row_layout
from golfpipe.weights.decompress import decompress

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "file-formats.md").read_text()


def grid(name: str, bits: int, rows: list[list[int]], scales: list[float]) -> Piece:
    codes = np.array(rows, dtype=np.int8)
    return Piece(name=name, shape=codes.shape, bits=bits, codes=codes, scales=np.float16(scales).reshape(-1, 1))


def opened(name: str, bits: int, shape: tuple[int, ...], codes: list[int], log_steps: list[int]) -> Piece:
    return Piece(
        name=name, shape=shape, bits=bits, codes=np.int16(codes).reshape(row_layout(shape)), scales=np.int16(log_steps)
    )


def exact(name: str, bits: int, values: list[int]) -> Piece:
    array = np.array(values, dtype=f"u{(bits - 100) // 8}")
    return Piece(name=name, shape=array.shape, bits=bits, raw=array)


def floats(name: str, bits: int, values: float | list[float]) -> Piece:
    array = np.array(values, dtype=f"f{bits // 8}")
    return Piece(name=name, shape=array.shape, bits=bits, floats=array)


COLUMNS = [0, 3, 3, 1, 3, 3, 3, 0, 3, 0, 3, 0, 0, 3, 3, 3, 3, 0, 0, 0, 0, 0, 0, 3, 0, 3, 0, 3, 3, 3, 0, 3]
LOUD_ROW = [89, 63, 147, -133, -115, -38, 181, 50, -143, 79, -1, 19]
EXAMPLES = {
    "grid": (
        "range",
        [grid("w", 4, [[0, 0, 0, 1, 0, 0, 0, 0, -1, 0, 0, 0], [0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0]], [0.5, 0.25])],
    ),
    "floats": ("range", [floats("h", 16, [1, -2.5, 0.1]), floats("s", 32, 0.1)]),
    "scalar": (
        "range",
        [opened("w", 0, (2, 6), [-1, 1, 0, -2, 0, 1, 0, 1, 2, 0, -1, -1], [-768, -768, 0, 20, 20, 0, 40, 20])],
    ),
    "written": ("range", [opened("w", 0, (32,), [1, 0, 0, -1, *[0] * 28], [-768, *COLUMNS])]),
    "trellis-4": ("range", [opened("w", -4, (1, 5), [1, 0, -1, 0, 2], [-1024, 0, 0, 0, 0, 0])]),
    "trellis-8": ("range", [opened("w", -8, (3, 12), [8, *[0] * 23, *LOUD_ROW], [-768] * 3 + [0] * 12)]),
    "exact": ("range", [exact("0", 108, [1, 2, 3, 4] * 32), exact("1", 116, [0x3F80, 0xC020])]),
    "nibble": (
        "nibble",
        [
            grid("g", 4, [[-8, 7, 0]], [0.5]),
            grid("b", 6, [[-32, 31, 0]], [0.5]),
            opened("o", 0, (1, 2), [300, -1], [-1024, -256, 128]),
            floats("h", 16, [1, -2.5]),
            exact("x", 116, [0x3F80, 0xC020]),
        ],
    ),
}

MODELS = {"exact": {"weights": [["m", "uint8", [128], 1, 0], ["w", "bfloat16", [2], 1, 0], ["v", 1]]}}
"""The models of the examples that have one."""


def block(mark: str) -> list[str]:
    (text,) = re.findall(rf"^```text {mark}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    return text.splitlines()


def payload_of(example: str) -> bytes:
    """The bytes of a block: pairs of digits up to two spaces, behind which a remark may stand."""
    return bytes.fromhex("".join(line.split("  ")[0] for line in block(f"example={example}")))


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_package_writes_the_example(example):
    coder, pieces = EXAMPLES[example]
    assert encode_payload(MODELS.get(example, {}), pieces, coder=coder).hex(" ") == payload_of(example).hex(" ")


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_weights_under_the_example_are_the_packages_to_the_bit(example):
    lines = [line.split() for line in block(f"weights={example}")]
    _, pieces = decode_payload(payload_of(example))
    for name, piece in pieces.items():
        weights = format_of(piece.bits).weights(piece)
        told = np.array([number for line in lines if line[0] == name for number in line[1:]], dtype=weights.dtype)
        assert told.tobytes() == weights.tobytes()
    assert {line[0] for line in lines} == pieces.keys()


def test_every_coder_and_every_kind_of_piece_has_an_example():
    shown = {(coder, format_name(piece.bits)) for coder, pieces in EXAMPLES.values() for piece in pieces}
    assert shown == {(coder, kind) for coder in CODERS.names for kind in FORMATS.names}


def test_the_constants_of_computed_tables_are_the_packages():
    told = [float(number) for line in block("constants=c") for number in line.split()]
    assert told == code_shapes._LN2_POWERS
    exponents, tails = (re.search(rf"^\| {row} \|([-+.e0-9| ]+)\|$", PAGE, re.MULTILINE) for row in "bt")
    assert tuple(float(cell) for cell in exponents[1].split("|")) == code_shapes.EXPONENTS
    expected = [code_shapes._TAIL_BITS ** (1 / exponent) for exponent in code_shapes.EXPONENTS]
    assert [float(cell) for cell in tails[1].split("|")] == expected


def test_the_state_dict_of_the_page_is_decompressed():
    state = decompress(payload_of("exact"))
    assert list(state) == ["m", "w", "v"] and state["v"] is state["w"]
    assert (state["w"].dtype, state["w"].tolist(), state["m"].tolist()) == (
        torch.bfloat16,
        [1.0, -2.5],
        [1, 2, 3, 4] * 32,
    )
