"""Where the bytes are, and which tensors quantization hurt."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial

from golfpipe.config.schema import build_config
from golfpipe.errors import ConfigError
from golfpipe.report.figures import heat_map_figure
from golfpipe.report.markup import Content, Html, el, table
from golfpipe.report.run_data import RunData, TensorError, tensor_errors
from golfpipe.report.sections import MISSING, drawing, section
from golfpipe.submission.sizes import SizeTable, size_table

_BASIS = {
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

ErrorGrid = tuple[list[str], list[str], list[list[float | None]]]
"""Names of the rows, of the columns, and the errors."""


def size_section(runs: Sequence[RunData]) -> Html | None:
    """Bytes per tensor class, of each run's last form."""
    parts: list[Content] = []
    basis = ""
    for run in runs:
        model = run.first("packed_model") or run.first("quantized_model") or run.first("trained_model")
        if model is None:
            continue
        sizes = size_table(model)
        basis = _BASIS.get(sizes.basis, "")
        parts += [el("h3", run.name) if len(runs) > 1 else None, _size_rows(sizes)]
    if not parts:
        return None
    return section("Where the bytes are", basis, *parts)


def _size_rows(sizes: SizeTable) -> Html:
    largest = max((row.share for row in sizes.rows), default=1.0) or 1.0
    rows: list[list[Content]] = [
        [
            row.name.replace("_", " "),
            el("span", el("i", style=f"width:{100 * row.share / largest:.1f}%"), class_="bar"),
            f"{row.bytes:,}",
            f"{row.share:.1%}",
            f"{row.count:,}" if row.count else MISSING,
            f"{row.bits_per_weight:.2f}" if row.bits_per_weight is not None else MISSING,
        ]
        for row in sizes.rows
    ]
    rows.append(
        [
            el("strong", "total"),
            "",
            el("strong", f"{sizes.total:,}"),
            "",
            f"{sum(r.count for r in sizes.rows):,}",
            _mean(sizes),
        ]
    )
    header: list[Content] = ["class", "", "bytes", "share", "weights", "bits/weight"]
    return table(header, rows, numeric=frozenset({2, 3, 4, 5}), fold=frozenset({1, 4}))


def _mean(sizes: SizeTable) -> Content:
    weights = sum(row.count for row in sizes.rows)
    return f"{8 * sizes.total / weights:.2f}" if weights else MISSING


def error_section(runs: Sequence[RunData]) -> Html | None:
    """Relative squared error of every quantized matrix."""
    found: list[tuple[RunData, tuple[TensorError, ...], ErrorGrid]] = []
    for run in runs:
        quantized = run.first("quantized_model")
        errors = tensor_errors(quantized) if quantized is not None else ()
        if quantized is not None and errors:
            found.append((run, errors, error_grid(errors, _kv_owners(quantized.manifest.model))))
    known = [v for *_, (_, _, values) in found for line in values for v in line if v is not None and v > 0]
    scale = (min(known), max(known)) if known else (1.0, 10.0)
    parts: list[Content] = []
    for index, (run, errors, (names, columns, values)) in enumerate(found):
        parts.append(el("h3", run.name) if len(runs) > 1 else None)
        if names:
            draw = partial(heat_map_figure, names, columns, values, scale)
            parts.append(drawing(draw, name=f"errors-{index}", title="Quantization error of each matrix by layer"))
        parts.append(_other_errors(errors))
    if not parts:
        return None
    return section(
        "Quantization error",
        "Squared error of each matrix over its squared weights, in percent; stronger color is worse."
        " Keys and values stand at the first layer that uses them.",
        *parts,
    )


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


def _other_errors(errors: Sequence[TensorError]) -> Html | None:
    """Matrices that have no layer, and which storage the rest has."""
    shown = [e for e in errors if e.values > 1024 and not any(p.fullmatch(e.name) for _, p in _ROWS)][:24]
    if not shown:
        return None
    rows: list[list[Content]] = [
        [
            el("code", e.name.removesuffix(".weight")),
            f"{e.values:,}",
            f"fp{e.bits}" if e.bits >= 16 else f"int{e.bits}",
            f"{e.relative_mse:.2%}" if e.relative_mse >= 5e-5 else "below 0.01%",
        ]
        for e in shown
    ]
    return table(["tables and other tensors", "weights", "stored as", "error"], rows, numeric=frozenset({1, 2, 3}))
