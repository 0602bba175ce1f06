"""compress and decompress: what comes back, at which size, for state dicts of every kind."""

import math

import numpy as np
import pytest
import torch
from states import gaussian, relative_error, same_bits
from torch import nn

from golfpipe import compress, decompress, split
from golfpipe.errors import ArtifactError, ConfigError, StageFailed
from golfpipe.weights import plan as planning


def model_state() -> dict[str, torch.Tensor]:
    return {
        "tok_emb.weight": gaussian(300, 64),
        "qo_bank": gaussian(4, 64, 64, seed=1),
        "mlp.up": gaussian(256, 64, seed=2),
        "mlp.down": gaussian(64, 256, seed=3).bfloat16(),
        "head.weight": gaussian(300, 64, seed=4).half(),
        "gain": gaussian(64, seed=5, deviation=1.0),
        "step": torch.tensor(1234567890123),
        "is_tied": torch.tensor(False),
    }


def test_names_shapes_types_and_order_come_back_and_the_reported_weights_are_the_decoded_ones():
    state = model_state()
    data, weights = compress(state, bits=3.0, rules={"qo_bank": split(0)}, return_weights=True)
    restored = decompress(data)
    assert list(restored) == list(weights) == list(state)
    for name, tensor in state.items():
        assert restored[name].dtype == tensor.dtype and restored[name].shape == tensor.shape
        assert same_bits(restored[name], weights[name])
        assert restored[name].is_contiguous()
    assert same_bits(restored["step"], state["step"]) and same_bits(restored["is_tied"], state["is_tied"])
    assert torch.equal(restored["gain"], state["gain"].half().float())
    assert data == compress(state, bits=3.0, rules={"qo_bank": split(0)})


def test_three_bits_a_weight_have_the_error_of_three_bits_a_weight():
    state = {"w": gaussian(512, 256)}
    shown = []
    data, weights = compress(state, bits=3.0, return_weights=True, show=shown.append)
    # 2^-2b is the bound; 8 states are within 0.1 bit of it, and scalar codes a quarter of a bit away.
    error = relative_error(weights["w"], state["w"])
    assert 2.0**-6 < error < 2.0 ** (-2 * (3.0 - 0.12))
    (line,) = shown[0].lines
    assert 2.99 < line.bits <= 3.0 and "8 states" in line.stored
    assert relative_error(compress(state, bits=3.0, method="rate", return_weights=True)[1]["w"], state["w"]) > error
    assert len(data) == shown[0].total_bytes == line.num_bytes + shown[0].header_bytes


@pytest.mark.parametrize("target", [20_000, 33_333, 60_000.5])
def test_a_target_in_bytes_is_met_within_a_thousandth_and_never_exceeded(target):
    data = compress(model_state(), target_bytes=target, rules={"qo_bank": split(0)})
    assert target * 0.999 <= len(data) <= target


def test_a_target_beyond_what_weights_need_leaves_them_nearly_exact():
    state = {"w": gaussian(128, 128)}
    data, weights = compress(state, target_bytes=1e6, return_weights=True)
    assert len(data) < 128 * 128 * 1.5 and relative_error(weights["w"], state["w"]) < 1e-4


def test_contradictory_arguments_and_targets_out_of_reach_are_named():
    state = model_state()
    for options in ({}, {"target_bytes": 9e3, "bits": 3.0}):
        with pytest.raises(ConfigError, match="either target_bytes or bits"):
            compress(state, **options)
    for bits in (0.0, -1.0, 10.0, math.nan):
        with pytest.raises(ConfigError, match="must lie in"):
            compress(state, bits=bits)
    with pytest.raises(ConfigError, match="unknown quantizer treillis"):
        compress(state, bits=3.0, method="treillis")
    with pytest.raises(StageFailed, match="a target of 300 bytes cannot be reached"):
        compress(state, target_bytes=300)
    with pytest.raises(StageFailed, match="nothing is coded"):
        compress({"gain": gaussian(8000)}, target_bytes=300)
    with pytest.raises(ConfigError, match="expected tensors by name"):
        compress({"w": state["gain"], "_extra_state": {}}, bits=3.0)
    with pytest.raises(ConfigError, match="expected a dense tensor"):
        compress({"w": torch.eye(3).to_sparse()}, bits=3.0)
    with pytest.raises(ConfigError, match="expected a dense tensor"):
        compress({"w": torch.empty(3, device="meta")}, bits=3.0)


def test_values_that_codes_cannot_hold_are_kept_bit_by_bit():
    huge = gaussian(200, 100)
    huge[3, 4] = 1e30
    state = {
        "huge": huge,
        "tiny": gaussian(200, 100) * 1e-20,
        "mask": torch.full((150, 150), -math.inf).triu(1),
        "zeros": torch.zeros(300, 300),
        "signs": gaussian(300, 100).sign(),
        "beyond fp16": torch.tensor([1e9, -3.25]),
        "negative zero": torch.tensor(-0.0),
        "complex": torch.randn(5, 7, dtype=torch.complex64).conj(),
        "complex128": torch.randn(3, dtype=torch.complex128),
    }
    for name, tensor in decompress(compress(state, bits=3.0)).items():
        assert same_bits(tensor, state[name]), name


@pytest.mark.parametrize(
    "dtype",
    [torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.uint16, torch.uint32, torch.uint64],
    ids=str,
)
def test_whole_numbers_of_every_type_are_kept_exactly(dtype):
    info = torch.iinfo(dtype)
    values = np.random.default_rng(0).integers(
        info.min, info.max, (90, 130), dtype=str(dtype).split(".")[1], endpoint=True
    )
    tensor = torch.from_numpy(values)
    assert same_bits(decompress(compress({"t": tensor}, bits=3.0))["t"], tensor)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16, torch.float8_e4m3fn], ids=str)
def test_every_real_type_is_coded_and_comes_back_as_that_type(dtype):
    weight = gaussian(128, 128).to(dtype)
    few = gaussian(50, deviation=1.0).to(dtype)
    restored = decompress(compress({"w": weight, "few": few}, bits=5.0))
    assert restored["w"].dtype == dtype and relative_error(restored["w"].float(), weight.float()) < 2e-3
    assert restored["few"].dtype == dtype
    # At most 8,192 values keep every bit that 16 of them hold.
    assert same_bits(restored["few"], few if dtype != torch.float64 else few.half().double())


def test_nan_is_refused_by_name_unless_a_rule_keeps_it():
    broken = gaussian(100, 100)
    broken[50, 50] = math.nan
    for name in ("w", "few"):
        tensor = broken if name == "w" else broken[50]
        with pytest.raises(StageFailed, match=f"^{name}: holds NaN") as caught:
            compress({name: tensor}, bits=3.0)
        assert '"exact"' in caught.value.hint
        assert same_bits(decompress(compress({name: tensor}, bits=3.0, rules={name: "exact"}))[name], tensor)


def test_strided_empty_and_scalar_tensors_and_parameters_of_a_model_come_back():
    linear = nn.Linear(100, 120)
    state = {
        "transposed": gaussian(200, 100).T,
        "every third": gaussian(300, 90)[::3],
        "expanded": gaussian(1, 200).expand(100, 200),
        "empty": torch.zeros(3, 0, 5, dtype=torch.bfloat16),
        "nothing": torch.zeros(0, dtype=torch.int64),
        "scalar": torch.tensor(3.5),
        "parameter": linear.weight,
    }
    for name, tensor in decompress(compress(state, bits=6.0)).items():
        assert tensor.shape == state[name].shape and tensor.dtype == state[name].dtype and not tensor.requires_grad
        if tensor.numel():
            assert relative_error(tensor, state[name]) < 1e-3
    assert decompress(compress({}, bits=3.0)) == {}


def test_a_tensor_under_two_names_is_stored_once_and_overlapping_views_twice():
    table = gaussian(400, 64)
    state = {"tok_emb.weight": table, "lm_head.weight": table, "view": table[:200], "flat": table.reshape(-1)}
    shown = []
    restored = decompress(compress(state, bits=4.0, show=shown.append))
    assert restored["lm_head.weight"] is restored["tok_emb.weight"]
    assert [line.num_bytes == 0 for line in shown[0].lines] == [False, True, False, False]
    assert relative_error(restored["view"], state["view"]) < 0.02


def test_names_may_have_any_characters():
    names = ["", " ", "a\nb", "\x00", "\ud800", "__metadata__", "0", "1", "bank.0", "bank", "\u202e" * 3, "x" * 5000]
    state = {name: gaussian(100, 90, seed=i) for i, name in enumerate(names)}
    state["bank"] = gaussian(3, 60, 64)
    shown = []
    restored = decompress(compress(state, bits=3.0, rules={"bank": split(0)}, show=shown.append))
    assert list(restored) == names
    assert all(relative_error(restored[name], state[name]) < 0.05 for name in names)
    assert str(shown[0]).isprintable() is False and "\x00" not in str(shown[0]) and "\\u202e" in str(shown[0])


def test_thousands_of_tensors_cost_few_bytes_each():
    state = {f"blocks.{i}.gain": gaussian(4, seed=i, deviation=1.0) for i in range(3000)}
    data = compress(state, bits=3.0)
    assert len(data) < 3000 * 24
    restored = decompress(data)
    assert all(torch.equal(restored[name], tensor.half().float()) for name, tensor in state.items())


def test_large_tensors_are_coded_in_blocks_of_rows(monkeypatch):
    state = {"w": gaussian(300, 100), "bank": gaussian(2, 150, 100, seed=1)}
    whole = decompress(compress(state, bits=3.0, rules={"bank": split(0)}))
    monkeypatch.setattr(planning, "BLOCK_VALUES", 6_400)
    shown = []
    data, weights = compress(state, bits=3.0, rules={"bank": split(0)}, return_weights=True, show=shown.append)
    for name, tensor in state.items():
        assert relative_error(weights[name], tensor) == pytest.approx(relative_error(whole[name], tensor), rel=0.1)
        assert same_bits(decompress(data)[name], weights[name])
    assert sum(line.num_bytes for line in shown[0].lines) + shown[0].header_bytes == len(data)


def test_masks_of_any_size_are_stored():
    state = {"mask": torch.zeros(70_000_003, dtype=torch.bool)}
    state["mask"][-2:] = True
    data = compress(state, bits=3.0)
    assert len(data) < 300 and same_bits(decompress(data)["mask"], state["mask"])


@pytest.mark.parametrize("dtype", [torch.bool, torch.int16, torch.float32, torch.complex64, torch.complex128], ids=str)
def test_large_exact_tensors_take_numbers_of_8_bytes_and_those_that_remain(monkeypatch, dtype):
    monkeypatch.setattr(planning, "_MANY_VALUES", 50)
    state = {f"{count}": gaussian(count).gt(0).to(dtype) for count in range(44, 66)}
    state["w"] = gaussian(100, 100)
    shown = []
    restored = decompress(compress(state, bits=3.0, rules={"[0-9]*": "exact"}, show=shown.append))
    assert all(same_bits(restored[name], state[name]) for name in state if name != "w")
    assert relative_error(restored["w"], state["w"]) < 0.05
    assert all(line.num_bytes for line in shown[0].lines)


def test_any_change_of_the_bytes_is_refused():
    data = compress(model_state(), bits=3.0)
    rng = np.random.default_rng(0)
    for position in rng.integers(0, len(data), 40):
        changed = bytearray(data)
        changed[position] ^= 1 << int(rng.integers(8))
        with pytest.raises(ArtifactError):
            decompress(bytes(changed))
    for wrong in (b"", data[:-1], data + b"\0", data[: len(data) // 2], b"PK\x03\x04"):
        with pytest.raises(ArtifactError):
            decompress(wrong)


def test_a_single_tensor_whose_sizes_leave_a_gap_at_the_target_gets_the_largest_size_below():
    # 65,464 and 65,588 bytes are what neighboring steps give; 65,536 are asked for.
    state = {"w": gaussian(512, 512)}
    shown = []
    compress(state, bits=2.0, show=shown.append)
    assert 1.98 < shown[0].lines[0].bits <= 2.0


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2], ids=str)
def test_coarse_types_whose_sizes_leap_get_the_largest_size_below_any_target(dtype):
    state, sizes = {"w": gaussian(96, 100, deviation=1.0).to(dtype)}, []
    for target in (600, 800, 1000, 1200, 1400):
        sizes.append(len(compress(state, target_bytes=target, method="rate", rules={"w": "coded"})))
        assert target * 0.7 < sizes[-1] <= target
    assert sizes == sorted(sizes)


@pytest.mark.parametrize("rule", ["coded", "table"])
@pytest.mark.parametrize("value", [0.3, 1e9, 0.0, -math.inf])
def test_a_scalar_is_stored_as_without_a_rule(rule, value):
    state = {"x": torch.tensor(value), "w": gaussian(100, 100)}
    restored = decompress(compress(state, bits=3.0, rules={"*": rule}))
    assert same_bits(restored["x"], decompress(compress(state, bits=3.0))["x"])
    assert float(restored["x"]) == pytest.approx(value, rel=1e-3)


def test_scalars_have_no_axis_that_a_rule_could_name():
    for rule in ("transposed", split(0)):
        with pytest.raises(ConfigError, match="'x'"):
            compress({"x": torch.tensor(0.3)}, bits=3.0, rules={"x": rule})


def test_powers_of_two_keep_every_bit():
    state = {"w": gaussian(100, 100, deviation=1.0).to(torch.float8_e8m0fnu)}
    assert same_bits(decompress(compress(state, bits=3.0))["w"], state["w"])
