"""Rules by name, default rules by rank and size, and the table of sizes."""

import numpy as np
import pytest
import torch
from states import gaussian, relative_error

from golfpipe import compress, decompress, split
from golfpipe.errors import ConfigError
from golfpipe.weights.plan import cut, plan_state


def plan_of(tensor: torch.Tensor, rule=None, measured=None, name: str = "w"):
    return plan_state({name: tensor}, {name: rule} if rule is not None else {}, measured or {})[0]


@pytest.mark.parametrize(
    ("shape", "how", "parts"),
    [
        ((8192,), "fp16", []),
        ((8193,), "coded", [(8, 1024), (1, 1)]),
        ((64, 128), "fp16", []),
        ((65, 128), "coded", [(65, 128)]),
        ((6, 64, 128), "coded", [(384, 128)]),
        ((96, 64, 3), "coded", [(96, 192)]),
        ((128, 32, 5, 5), "coded", [(128, 800)]),
        ((20_000, 1), "coded", [(19, 1024), (1, 544)]),
        ((3, 20_480), "coded", [(60, 1024)]),
        ((), "fp16", []),
    ],
)
def test_default_rules_by_rank_and_size(shape, how, parts):
    tensor = gaussian(*shape, deviation=1.0) if shape else torch.tensor(0.5)
    plan = plan_of(tensor)
    assert plan.how == how and [part.shape for part in plan.parts] == parts
    found = list(cut(plan, tensor))
    assert [tuple(part.shape) for part in found] == parts
    if parts:
        assert torch.equal(torch.cat([part.reshape(-1) for part in found]), tensor.reshape(-1))


def test_a_calibrated_width_is_kept():
    assert plan_of(gaussian(3, 20_480), measured={"w": 20_480}).parts[0].shape == (3, 20_480)


@pytest.mark.parametrize(
    ("rule", "labels", "shapes"),
    [
        (split(0), ["w.0", "w.1", "w.2", "w.3", "w.4", "w.5"], [(64, 128)] * 6),
        (split(0, 3), ["w.0", "w.1", "w.2"], [(128, 128)] * 3),
        (split(0, [1, 5]), ["w.0", "w.1"], [(64, 128), (320, 128)]),
        (split(1, 2), ["w.0", "w.1"], [(192, 128)] * 2),
        ("coded", ["w"], [(384, 128)]),
        ("transposed", ["w"], [(64, 768)]),
    ],
)
def test_parts_are_the_slices_and_come_back(rule, labels, shapes):
    tensor = gaussian(6, 64, 128, deviation=1.0)
    plan = plan_of(tensor, rule)
    assert [part.label for part in plan.parts] == labels and [part.shape for part in plan.parts] == shapes
    first = next(cut(plan, tensor))
    moved = tensor.movedim(plan.axis, 0)
    assert torch.equal(first.reshape(-1), moved.reshape(-1)[: first.numel()])
    restored = decompress(compress({"w": tensor}, bits=6.0, rules={"w": rule}))["w"]
    assert relative_error(restored, tensor) < 1e-3


def test_rules_that_do_not_fit_are_named():
    state = {"bank": gaussian(4, 60, 60), "v": gaussian(9000)}
    for rules, message in (
        ({"bnak": split(0)}, "unknown tensor for the rule bnak"),
        ({"bank": "codde"}, "unknown rule codde"),
        ({"bank": split(3)}, r"split\(3\)"),
        ({"bank": split(0, 3)}, "3 parts of axis 0"),
        ({"bank": split(0, [1, 2])}, "do not make up"),
        ({"v": split(0)}, "do not make up"),
        ({"v": "transposed"}, "transposed"),
    ):
        with pytest.raises(ConfigError, match=message):
            compress(state, bits=3.0, rules=rules)
    with pytest.raises(ConfigError, match="whole number from 0 on"):
        split(-1)
    with pytest.raises(ConfigError, match="its largest number is 1e"):
        compress({"w": torch.full((3,), 1e6)}, bits=3.0, rules={"w": "fp16"})


def test_the_first_rule_that_matches_decides():
    state = {"a.w": gaussian(100, 100), "a.v": gaussian(100, 100)}
    rules = {"a.v": "fp16", "a.*": "exact"}
    restored = decompress(compress(state, bits=3.0, rules=rules))
    assert torch.equal(restored["a.w"], state["a.w"]) and torch.equal(restored["a.v"], state["a.v"].half().float())


def test_a_token_table_is_finer_than_matrices():
    table, matrix = gaussian(500, 64), gaussian(500, 64, seed=1)
    for name, rules in (("wte.weight", {}), ("E", {"E": "table"})):
        restored = decompress(compress({name: table, "w": matrix}, bits=4.0, rules=rules))
        assert relative_error(restored[name], table) < relative_error(restored["w"], matrix) / 8


def test_masks_of_few_values_are_exact_and_other_tables_not():
    mask = torch.ones(200, 200).tril()
    angles = torch.outer(torch.arange(200), torch.linspace(0, 1, 200)).cos()
    assert (plan_of(mask).how, plan_of(angles).how) == ("exact", "coded")


def test_the_table_adds_up_and_advises_on_what_is_large():
    state = {
        "bank": gaussian(4, 64, 64),
        "mask": gaussian(200, 100).sign(),
        "positions": torch.from_numpy(np.random.default_rng(0).integers(0, 1 << 40, 3000)),
        "gain": gaussian(8000, deviation=1.0),
        "w": gaussian(200, 100),
        "small": gaussian(10),
    }
    shown = []
    data = compress(state, bits=3.0, show=shown.append)
    table = shown[0]
    lines = {line.name: line for line in table.lines}
    assert list(lines) == list(state)
    assert sum(line.num_bytes for line in table.lines) + table.header_bytes == table.total_bytes == len(data)
    assert 'rules={"bank": split(0)}' in lines["bank"].suggestion
    assert "leave it out" in lines["positions"].suggestion
    assert '"coded"' in lines["gain"].suggestion and '"coded"' in lines["mask"].suggestion
    assert not lines["w"].suggestion and not lines["small"].suggestion
    text = str(table)
    assert "not calibrated" in text and text.index("gain ") < text.index("bank ") < text.index("small ")
    assert f"{len(data):>11,}" in text and max(map(len, text.splitlines())) <= 80
