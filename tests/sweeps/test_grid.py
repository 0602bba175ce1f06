"""Grids of settings: what the words mean, and which cells come out."""

from __future__ import annotations

from pathlib import Path

import pytest

from golfpipe.config.override import parse_override
from golfpipe.errors import ConfigError
from golfpipe.sweeps.grid import expand, override_texts, parse_grid, read_grids


def test_every_combination_the_last_key_fastest() -> None:
    cells = expand([parse_grid(["quantize.mlp.bits=3,4", "pack.coder=range,nibble"])])
    assert [tuple(cell.values()) for cell in cells] == [(3, "range"), (3, "nibble"), (4, "range"), (4, "nibble")]
    assert override_texts(cells[0]) == ("quantize.mlp.bits=3", "pack.coder=range")


def test_the_setting_decides_how_values_are_read() -> None:
    grid = parse_grid(["model.kv_sharing=none,{last: 2}", "optim.matrix_lr=5e-3,0.01", "submit.name=4,a #b"])
    assert grid == {
        "model.kv_sharing": ["none", {"last": 2}],
        "optim.matrix_lr": [0.005, 0.01],
        "submit.name": ["4", "a #b"],
    }
    for key, values in grid.items():
        for text, value in zip(
            override_texts({key: values[0]}) + override_texts({key: values[1]}), values, strict=True
        ):
            section, name = key.split(".")
            assert parse_override(text) == {section: {name: value}}


def test_grids_from_yaml_are_taken_together_each_cell_once(tmp_path: Path) -> None:
    path = tmp_path / "grids.yaml"
    path.write_text("- {quantize.mlp.bits: [3, 4]}\n- {quantize.mlp.bits: [4, 5]}\n")
    assert [cell["quantize.mlp.bits"] for cell in expand(read_grids(path))] == [3, 4, 5]
    path.write_text("quantize.mlp.bits: [3]\npack.coder: [range, nibble]\n")
    assert len(expand(read_grids(path))) == 2


def test_a_sample_is_drawn_by_the_seed_and_keeps_the_order() -> None:
    grid = [parse_grid(["quantize.mlp.bits=2,3,4,5,6,7,8", "pack.coder=range,nibble"])]
    drawn = expand(grid, sample=5, seed=1)
    assert drawn == expand(grid, sample=5, seed=1) != expand(grid, sample=5, seed=2)
    everything = expand(grid)
    assert [everything.index(cell) for cell in drawn] == sorted(everything.index(cell) for cell in drawn)
    assert expand(grid, sample=99) == everything


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["quantize.mlp.bits"], "expected key=value,value"),
        (["quantize.mlp.bit=3"], "unknown key quantize.mlp.bit"),
        (["quantize.mlp.bits="], "expected a list of values"),
        (["pack.coder=range", "pack.coder=nibble"], "given twice"),
        (["model.kv_sharing=[range"], "model.kv_sharing"),
    ],
)
def test_mistakes_name_the_key(texts: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message.replace("[", r"\[")):
        parse_grid(texts)


@pytest.mark.parametrize("content", ["3", "[]\n", "- 3", "pack.coder: range", "pack.coder: []", "{}"])
def test_a_yaml_file_that_is_no_grid_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "grids.yaml"
    path.write_text(content)
    if content == "[]\n":
        assert read_grids(path) == []
        return
    with pytest.raises(ConfigError, match=r"grids\.yaml"):
        read_grids(path)


def test_too_many_cells_are_a_slip() -> None:
    with pytest.raises(ConfigError, match="more than 100,000 cells"):
        expand([{f"k{n}": list(range(10)) for n in range(6)}])
