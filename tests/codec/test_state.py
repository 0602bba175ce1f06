"""The description of a state dict in a payload: pinned bytes, and lines that no writer writes."""

import numpy as np
import pytest

from golfpipe.codec.container import encode_payload
from golfpipe.codec.pieces import Piece
from golfpipe.codec.state import StoredTensor, decode_state, describe, read_lines, read_tensors
from golfpipe.errors import ArtifactError


def pieces() -> list[Piece]:
    codes = np.array([[1, -2, 0], [0, 3, 1]], dtype=np.int16)
    return [
        Piece(name="0", shape=(2, 3), bits=0, codes=codes, scales=np.zeros(5, dtype=np.int16)),
        Piece(name="1", shape=(1, 3), bits=0, codes=codes[:1], scales=np.zeros(4, dtype=np.int16)),
        Piece(name="2", shape=(4,), bits=16, floats=np.float16([1, 2, 3, 4])),
        Piece(name="3", shape=(2,), bits=164, raw=np.array([5, 1 << 63], dtype=np.uint64)),
    ]


LINES = [
    ["w", "bfloat16", [3, 3], 2, 1],
    ["gain", "float32", [2, 2], 1, 0],
    ["tied", 0],
    ["empty", "bool", [0, 7], 0, 0],
    ["count", "complex64", [2], 1, 0],
]


def test_lines_say_how_pieces_become_tensors():
    payload = encode_payload({"weights": LINES}, pieces(), coder="range")
    found = list(decode_state(payload))
    assert [tensor.name for tensor, _ in found] == ["w", "gain", "tied", "empty", "count"]
    assert found[0][1].tolist() == [[1, 0, 1], [-2, 3, -2], [0, 1, 0]]  # parts along axis 1
    assert found[1][1].tolist() == [[1, 2], [3, 4]] and found[1][1].dtype == np.float32
    assert found[2][1] is None and found[2][0].same_as == 0 and found[2][0].dtype == "bfloat16"
    assert found[3][1].size == 0 and found[3][0].shape == (0, 7)
    assert found[4][1].tobytes() == pieces()[3].raw.tobytes()
    assert describe(tensor for tensor, _ in found) == {"weights": LINES}


@pytest.mark.parametrize(
    ("line", "change"),
    [
        (0, ["w", "bfloat16", [3, 3], 1, 1]),
        (0, ["w", "bfloat16", [3, 3], 3, 1]),
        (0, ["w", "bfloat16", [3, 4], 2, 1]),
        (0, ["w", "bfloat16", [3, 3], 2, 2]),
        (0, ["w", "bfloat16", [3, 3], 2, -1]),
        (0, ["w", "bfloat16", [3, 3], 2, True]),
        (0, ["w", "int16", [3, 3], 2, 1]),
        (0, ["w", "float31", [3, 3], 2, 1]),
        (0, ["w", "bfloat16", [-3, -3], 2, 1]),
        (0, ["w", "bfloat16", [9.0], 2, 0]),
        (0, ["w", "bfloat16", [1] * 65, 2, 0]),
        (0, ["w", "bfloat16", [3, 3], 2]),
        (0, [7, "bfloat16", [3, 3], 2, 1]),
        (0, ["w", 0]),
        (2, ["tied", 2]),
        (2, ["tied", 3]),
        (2, ["tied", -1]),
        (2, ["tied", False]),
        (2, ["w", 0]),
        (3, ["empty", "bool", [1 << 41, 0], 0, 0]),
        (3, ["empty", "bool", [1, 7], 0, 0]),
        (3, ["again", 2]),
        (4, ["count", "complex64", [3], 1, 0]),
        (4, ["count", "float64", [2], 2, 0]),
    ],
    ids=str,
)
def test_any_other_line_is_refused(line, change):
    lines = [*LINES[:line], change, *LINES[line + 1 :]]
    with pytest.raises(ArtifactError, match="packed payload"):
        list(decode_state(encode_payload({"weights": lines}, pieces(), coder="range")))


def test_other_descriptions_and_left_over_pieces_are_refused():
    for model in ({}, {"num_layers": 2}, {"weights": LINES, "more": 1}, {"weights": {"w": 1}}, {"weights": LINES[:4]}):
        with pytest.raises(ArtifactError, match="packed payload"):
            list(decode_state(encode_payload(model, pieces(), coder="range")))


def test_the_tensors_of_a_packed_model_are_fp32_by_their_names():
    payload = encode_payload({"layers": 2}, pieces()[:3], coder="nibble")
    found = {tensor.name: values for tensor, values in decode_state(payload)}
    assert list(found) == ["0", "1", "2"] and all(values.dtype == np.float32 for values in found.values())
    assert found["0"].tolist() == [[1, -2, 0], [0, 3, 1]] and found["2"].tolist() == [1, 2, 3, 4]
    with pytest.raises(ArtifactError, match="'3': bits of numbers whose type is not known"):
        decode_state(encode_payload({"layers": 2}, pieces(), coder="range"))


def test_exact_and_coded_pieces_do_not_mix_in_a_tensor():
    own = [pieces()[0], Piece(name="1", shape=(3,), bits=132, raw=np.arange(3, dtype=np.uint32))]
    with pytest.raises(ArtifactError, match="2 pieces of 36 bytes"):
        read_tensors(describe([StoredTensor(name="w", dtype="float32", shape=(9,), pieces=2)]), own)


def test_twenty_thousand_lines_are_read_in_a_moment():
    lines = [[f"blocks.{i}.gain", "float32", [0], 0, 0] for i in range(20_000)]
    assert len(read_lines({"weights": lines})) == 20_000
