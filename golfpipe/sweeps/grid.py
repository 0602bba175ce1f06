"""A grid of settings, and the cells that it expands to.

'quantize.mlp.bits=3,4,5' gives one key three values; several keys give every combination. Values of settings that are
text are what stands between the commas; others are YAML, so lists and mappings may be among them. A YAML file holds one
grid (a mapping of keys to lists) or several (a list of such mappings, whose cells are taken together).
"""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from golfpipe.choices import nearest
from golfpipe.config.override import fitting, is_text, override_text, parse_override
from golfpipe.config.schema import PipelineConfig, Plain, all_keys, key_type, plain_config, setting_value
from golfpipe.config.yaml_file import parse_yaml, read_yaml
from golfpipe.errors import ConfigError

MAX_CELLS = 100_000
"""A grid above this is a slip of the fingers; --sample draws from what is below."""

Grid = dict[str, list[Any]]
"""The values of each dotted key."""
Cell = dict[str, Any]
"""The value of each dotted key in one cell."""


def parse_grid(texts: Sequence[str]) -> Grid:
    """Return the grid of `--grid key=v1,v2`. Raises ConfigError for an unknown key or one that comes twice."""
    grid: Grid = {}
    for text in texts:
        key, equals, values = text.partition("=")
        key = key.strip()
        if not equals or not key:
            raise ConfigError(f"--grid {text!r}: expected key=value,value, e.g. quantize.mlp.bits=3,4,5")
        if key in grid:
            raise ConfigError(f"--grid {key}: given twice", hint=f"list all its values: --grid {key}=a,b,c")
        found = values.split(",") if is_text(key) else parse_yaml(f"[{values}]", f"--grid {key}")
        grid[key] = _checked(key, found, f"--grid {text!r}")
    return grid


def read_grids(path: Path) -> list[Grid]:
    """Return the grid, or the list of grids, in a YAML file. Raises ConfigError."""
    raw = read_yaml(path)
    grids = []
    for number, body in enumerate(raw if isinstance(raw, list) else [raw], start=1):
        where = f"{path}, grid {number}" if isinstance(raw, list) else str(path)
        if not isinstance(body, dict) or not body:
            raise ConfigError(f"{where}: expected a mapping of keys to lists of values, found {body!r}")
        grids.append({key: _checked(key, values, f"{where}: {key}") for key, values in body.items()})
    return grids


def expand(grids: Sequence[Grid], *, sample: int | None = None, seed: int = 0) -> list[Cell]:
    """Return every combination of every grid once, the last key varying fastest; or a random `sample` of them.

    Raises ConfigError for too many.
    """
    cells: dict[str, Cell] = {}
    for cell in _combinations(grids):
        cells.setdefault(json.dumps(cell, sort_keys=True), cell)
        if len(cells) > MAX_CELLS:
            raise ConfigError(f"the grid has more than {MAX_CELLS:,} cells", hint="fewer values")
    found = list(cells.values())
    if sample is None or sample >= len(found):
        return found
    chosen = sorted(random.Random(seed).sample(range(len(found)), sample))
    return [found[index] for index in chosen]


def parse_without(texts: Sequence[str]) -> Cell:
    """Return the keys of `--without key,key=value` with the values that leave them out, None where none is given.

    Raises ConfigError for an unknown key.
    """
    off: Cell = {}
    for text in ",".join(texts).split(","):
        key, equals, value = (part.strip() for part in text.partition("="))
        if not key:
            raise ConfigError(f"--without {text!r}: expected keys between commas, e.g. model.bigram_buckets=0")
        off[key] = parse_grid([f"{key}={value}"])[key][0] if equals else None
        if key_type(key) is None:
            raise ConfigError(f"--without {key}: unknown key", hint=nearest(key, all_keys()))
    return off


def leave_one_out(grids: Sequence[Grid], off: Cell, plain: Plain) -> list[Grid]:
    """Return each grid once with all settings as they are in the plain configuration, and once for each key of `off`
    with its value there, or golfpipe's default for None. Raises ConfigError where that is the value that it has."""
    everything = {key: setting_value(plain, key) for key in off}
    default = plain_config(PipelineConfig())
    variants = [everything]
    for key, value in off.items():
        left_out = setting_value(default, key) if value is None else value
        if left_out == everything[key]:
            raise ConfigError(
                f"--without {key}: is {override_text(key, left_out)} already",
                hint=f"--without {key}=VALUE, with the value that turns it off",
            )
        variants.append(everything | {key: left_out})
    return [{key: [value] for key, value in variant.items()} | grid for grid in grids for variant in variants]


def override_texts(cell: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the cell as arguments of `--set`: 'key=value' each, in the order of the keys."""
    return tuple(f"{key}={override_text(key, value)}" for key, value in cell.items())


def _combinations(grids: Sequence[Grid]) -> Iterator[Cell]:
    for grid in grids:
        for values in itertools.product(*grid.values()):
            yield dict(zip(grid, values, strict=True))


def _checked(key: str, values: Any, where: str) -> list[Any]:
    if not isinstance(values, list) or not values:
        raise ConfigError(f"{where}: expected a list of values, found {values!r}")
    for value in values:
        parse_override(f"{key}={override_text(key, value)}")  # names an unknown key now, before anything runs
    return [fitting(key, value) for value in values]
