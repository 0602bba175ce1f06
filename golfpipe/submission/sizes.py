"""Size tables with one row per tensor class, for models of every kind."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from golfpipe.config.schema import build_config
from golfpipe.errors import ArtifactError, ConfigError
from golfpipe.model.config import ModelConfig, parameter_shapes
from golfpipe.store.artifact import Artifact
from golfpipe.store.metric_values import count, mapping

Basis = Literal["packed file", "entropy estimate", "fp32 weights", "weights as they are", "none"]
"""What the bytes of a table mean."""

_Checked = TypeVar("_Checked", bound=BaseModel)

CLASS_ORDER = ("mlp", "attention", "ngram", "token_table", "small")
HEADER_ROW = "coder header"
FRAMING_ROW = "file framing"


@dataclass(frozen=True, kw_only=True)
class SizeRow:
    """One class of tensors, or the bytes around them."""

    name: str
    count: int
    """The number of weights; 0 for bytes that hold none."""
    bits_per_weight: float | None
    bytes: int
    share: float
    """The share of the table's total, 0 to 1."""


@dataclass(frozen=True, kw_only=True)
class SizeTable:
    rows: tuple[SizeRow, ...]
    basis: Basis

    @property
    def total(self) -> int:
        return sum(row.bytes for row in self.rows)


_MOST = 1 << 50
"""The most that any count in a file may be: far above all models, and small enough for exact sums."""


class _Tensor(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore")

    name: str
    tensor_class: str = Field(alias="class")
    values: int = Field(ge=0, le=_MOST)


class _PackedTensor(_Tensor):
    bytes: int = Field(ge=0, le=_MOST)


class _Sizes(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore")

    header_bytes: int = Field(ge=0, le=_MOST)
    tensors: list[_PackedTensor]


class _QuantizedTensor(_Tensor):
    bits: int = Field(ge=-8, le=164)
    """The bit width; 0, -4 and -8 mean open-ended codes, which are as wide as their entropy; from 108 on exact bits."""
    entropy_bits: float | None = Field(default=None, ge=0, le=64)
    """The entropy in bits per code; None for floats."""
    entropy_bytes: float | None = Field(default=None, ge=0, le=_MOST)
    """The bytes of codes and scales together at their entropy."""


class _QuantizedTensors(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore")

    tensors: list[_QuantizedTensor]


def size_table(artifact: Artifact) -> SizeTable:
    """Return the table of a model, from its files. Raises ArtifactError for files that are damaged or do not add up."""
    readers = {
        "packed_model": _packed_table,
        "quantized_model": _quantized_table,
        "trained_model": _weights_table,
        "adapted_model": _weights_table,
        "weights": _imported_table,
    }
    reader = readers.get(artifact.manifest.kind)
    return reader(artifact) if reader is not None else SizeTable(rows=(), basis="none")


def packed_file_bytes(packed: Artifact) -> int:
    """Return the size on disk of the one file that counts, after checking its sha256. Raises ArtifactError."""
    return packed.file("packed.safetensors").stat().st_size


def _packed_table(artifact: Artifact) -> SizeTable:
    sizes = _parse(_Sizes, artifact, "sizes.json")
    file_bytes = packed_file_bytes(artifact)
    listed = sizes.header_bytes + sum(tensor.bytes for tensor in sizes.tensors)
    if listed > file_bytes:
        raise ArtifactError(
            f"{artifact.path / 'sizes.json'}: lists {listed} bytes, packed.safetensors has {file_bytes}",
            hint="run `golfpipe pack` again with --force",
        )
    entries = _by_class((tensor.tensor_class, tensor.values, float(tensor.bytes)) for tensor in sizes.tensors)
    extras = [(HEADER_ROW, sizes.header_bytes), (FRAMING_ROW, file_bytes - listed)]
    return _table(entries, extras, "packed file")


def _quantized_table(artifact: Artifact) -> SizeTable:
    report = _parse(_QuantizedTensors, artifact, "report.json")
    entries = _by_class((tensor.tensor_class, tensor.values, _coded_bytes(tensor)) for tensor in report.tensors)
    return _table(entries, [], "entropy estimate")


def _coded_bytes(tensor: _QuantizedTensor) -> float:
    if tensor.entropy_bytes is not None:
        return tensor.entropy_bytes
    return tensor.values * (tensor.entropy_bits if tensor.entropy_bits is not None else max(tensor.bits, 0)) / 8


def _weights_table(artifact: Artifact) -> SizeTable:
    manifest = artifact.manifest
    needed = {"model": manifest.model or manifest.config.get("model"), "quantize": manifest.config.get("quantize")}
    try:
        config = build_config({section: value for section, value in needed.items() if value is not None})
    except ConfigError as error:
        raise ArtifactError(f"{artifact.path}: its configuration cannot be read: {error.message}") from error
    entries = _by_class(
        (_class_of(name, size, config.quantize.rules), size, 4.0 * size)
        for name, size in _parameter_sizes(config.model)
    )
    return _table(entries, [], "fp32 weights")


def _imported_table(artifact: Artifact) -> SizeTable:
    """Return the table of imported weights by type, whose sizes the metrics have."""
    metrics = artifact.manifest.metrics
    values, sizes = mapping(metrics, "values_by_type"), mapping(metrics, "bytes_by_type")
    entries = {name: (count(values, name) or 0, float(count(sizes, name) or 0)) for name in sizes}
    return _table(entries, [], "weights as they are")


def _class_of(name: str, size: int, rules: Sequence[Any]) -> str:
    return next((str(rule.to) for rule in rules if rule.matches(name, size)), "unmatched")


def _parameter_sizes(config: ModelConfig) -> Iterable[tuple[str, int]]:
    for name, shape in parameter_shapes(config).items():
        size = 1
        for width in shape:
            size *= width
        yield name, size


def _by_class(entries: Iterable[tuple[str, int, float]]) -> dict[str, tuple[int, float]]:
    """Sum entries (class, values, bytes) per class, in the order of CLASS_ORDER."""
    totals: dict[str, tuple[int, float]] = {}
    for name, values, num_bytes in entries:
        before = totals.get(name, (0, 0.0))
        totals[name] = (before[0] + values, before[1] + num_bytes)
    known = {name: index for index, name in enumerate(CLASS_ORDER)}
    return dict(sorted(totals.items(), key=lambda item: (known.get(item[0], len(known)), item[0])))


def _table(entries: dict[str, tuple[int, float]], extras: Sequence[tuple[str, int]], basis: Basis) -> SizeTable:
    counted = [(name, values, round(num_bytes)) for name, (values, num_bytes) in entries.items()]
    counted += [(name, 0, num_bytes) for name, num_bytes in extras if num_bytes]
    total = sum(num_bytes for _, _, num_bytes in counted)
    rows = tuple(
        SizeRow(
            name=name,
            count=values,
            bits_per_weight=8 * num_bytes / values if values else None,
            bytes=num_bytes,
            share=num_bytes / total if total else 0.0,
        )
        for name, values, num_bytes in counted
    )
    return SizeTable(rows=rows, basis=basis)


def _parse(schema: type[_Checked], artifact: Artifact, name: str) -> _Checked:
    raw = artifact.read_json(name)
    try:
        return schema.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "top level"
        raise ArtifactError(f"{artifact.path / name}: field {where}: {first['msg']}") from error
