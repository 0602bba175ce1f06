"""Where the bytes are, and which tensors quantization hurt."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

from golfpipe.config.schema import build_config
from golfpipe.errors import ConfigError
from golfpipe.report.figures import heat_map_figure
from golfpipe.report.run_data import RunData, TensorError, tensor_errors
from golfpipe.report.svg import Drawing, drawing
from golfpipe.store.manifest import Kind
from golfpipe.submission.sizes import SizeTable, size_table

BASIS = {
    "packed file": "Bytes of packed.safetensors by class of tensor, tables included.",
    "entropy estimate": "Not packed yet: the entropy of codes and scales, which packing comes close to.",
    "fp32 weights": "Not quantized yet: four bytes for every weight.",
}
_ROWS = (
    ("mlp input", re.compile(r"blocks\.(\d+)\.mlp\.input\.weight")),
    ("mlp output", re.compile(r"blocks\.(\d+)\.mlp\.output\.weight")),
    ("query", re.compile(r"blocks\.(\d+)\.attention\.query\.weight")),
    ("key", re.compile(r"kv_projections\.(\d+)\.key\.weight")),
    ("value", re.compile(r"kv_projections\.(\d+)\.value\.weight")),
    ("attention output", re.compile(r"blocks\.(\d+)\.attention\.output\.weight")),
)
_MOST_LAYERS = 128
MOST_OTHERS = 24
"""Rows of the table of other tensors at most."""

ErrorGrid = tuple[list[str], list[str], list[list[float | None]]]
"""Names of the rows, of the columns, and the errors."""


class Errors(NamedTuple):
    """Quantization errors of a run: the map of the matrices that have a layer, and other tensors."""

    name: str
    figure: Drawing | None
    others: list[TensorError]


def model_sizes(run: RunData) -> SizeTable | None:
    """Return the bytes per tensor class of the run's last form."""
    kinds: tuple[Kind, ...] = ("packed_model", "quantized_model", "trained_model", "weights")
    model = next((found for kind in kinds if (found := run.first(kind)) is not None), None)
    return size_table(model) if model is not None else None


def errors(runs: Sequence[RunData]) -> list[Errors]:
    """Return the relative squared errors of each run that was quantized."""
    found: list[tuple[str, tuple[TensorError, ...], ErrorGrid]] = []
    for run in runs:
        quantized = run.first("quantized_model")
        of_run = tensor_errors(quantized) if quantized is not None else ()
        if quantized is not None and of_run:
            found.append((run.name, of_run, error_grid(of_run, _kv_owners(quantized.manifest.model))))
    known = [v for *_, (_, _, values) in found for line in values for v in line if v is not None and v > 0]
    scale = (min(known), max(known)) if known else (1.0, 10.0)
    shown = []
    for index, (name, of_run, (names, columns, values)) in enumerate(found):
        draw, title = (
            partial(heat_map_figure, names, columns, values, scale),
            "Quantization error of each matrix by layer",
        )
        figure = drawing(draw, name=f"errors-{index}", title=title) if names else None
        shown.append(Errors(name, figure, _other_errors(of_run)))
    return shown


def error_grid(errors: Sequence[TensorError], owners: Sequence[int]) -> ErrorGrid:
    """(row names, column names, errors); rows without integer codes are left out. `owners`: layer of each K/V pair."""
    cells: dict[tuple[str, int], float] = {}
    for error in errors:
        if error.bits >= 16:
            continue
        for row, pattern in _ROWS:
            match = pattern.fullmatch(error.name)
            if match is None:
                continue
            number = int(match.group(1))
            layer = owners[number] if row in ("key", "value") and number < len(owners) else number
            if layer < _MOST_LAYERS:
                cells[row, layer] = error.relative_mse
    names = [row for row, _ in _ROWS if any(row == name for name, _ in cells)]
    layers = range(max((layer for _, layer in cells), default=-1) + 1)
    return names, [str(layer) for layer in layers], [[cells.get((name, layer)) for layer in layers] for name in names]


def _kv_owners(model: dict[str, object] | None) -> list[int]:
    """First layer that uses each K/V projection pair."""
    try:
        config = build_config({"model": model or {}}).model
    except ConfigError:
        return []
    return [config.kv_source.index(pair) for pair in range(config.num_kv_projections)]


def _other_errors(errors: Sequence[TensorError]) -> list[TensorError]:
    """Return the larger tensors that have no layer."""
    return [e for e in errors if e.values > 1024 and not any(p.fullmatch(e.name) for _, p in _ROWS)][:MOST_OTHERS]
