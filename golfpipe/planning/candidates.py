"""The designs to choose from: every combination of what --vary names, around a preset."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from golfpipe.choices import nearest
from golfpipe.config.schema import PipelineConfig, build_config, plain_config
from golfpipe.errors import ConfigError
from golfpipe.model.config import ModelConfig
from golfpipe.sweeps.grid import Cell, override_texts, parse_grid

MOST_CANDIDATES = 5_000
VOCABULARIES = (512, 1024, 2048, 4096, 8192, 16384, 32768)
_SHARES = (0.5, 0.75, 1.0, 1.5, 2.0)
"""Layers and widths that are tried, as shares of the preset's."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A design before anything is known of it."""

    settings: Cell
    config: PipelineConfig
    bits: float | None = None
    """The bits a weight that it is to have; None for as many as the bytes leave."""


class Varied(NamedTuple):
    """What a name of --vary stands for."""

    values: list[Cell]
    """The settings of each value."""
    given: bool
    """True where somebody chose the values, so that each of them must make a design."""


def parse_vary(texts: Sequence[str], config: PipelineConfig, *, has_text: bool) -> list[Varied]:
    """Return, for each name of --vary, the settings of its values.

    `vocab,layers` are short names, each with values of its own around the configuration; `layers=4,6` gives the values,
    and any dotted setting may stand there with values. Raises ConfigError.
    """
    found: dict[str, Varied] = {}
    for text in [part for given in texts for part in ([given] if "=" in given else given.split(","))]:
        name, equals, values = (part.strip() for part in text.partition("="))
        if name in found:
            raise ConfigError(f"--vary {name}: given twice")
        if (name == "vocab" or name.startswith("data.")) and not has_text:
            raise ConfigError(f"--vary {name}: token data is made already", hint="give the text in place of the data")
        if "." in name and equals:
            grid = parse_grid([text])
            found[name] = Varied([{key: value} for key, options in grid.items() for value in options], True)
        elif name in _SHORT:
            axis = _SHORT[name]
            wanted = _numbers(name, values) if equals else axis.values(config)
            found[name] = Varied([axis.settings(config.model, value) for value in wanted], bool(equals))
        else:
            hint = nearest(name, list(_SHORT)) or f"one of {', '.join(_SHORT)}, or any.setting=value,value"
            raise ConfigError(f"--vary {name!r}: unknown", hint=hint)
    return list(found.values())


def candidates(axes: Sequence[Varied], config: PipelineConfig) -> list[Candidate]:
    """Return every combination that makes a valid configuration, the configuration's own design first where it is
    among them. Raises ConfigError where there is none, or far too many, or where a given value is in none."""
    plain, found, last = plain_config(config), dict[str, Candidate](), None
    unused = {id(part): part for axis in axes if axis.given for part in axis.values}
    reasons: dict[int, ConfigError] = {}
    total = math.prod(len(axis.values) for axis in axes)
    if total > MOST_CANDIDATES:
        raise ConfigError(
            f"--vary makes {total:,} designs, more than {MOST_CANDIDATES:,}", hint="fewer names, or fewer values"
        )
    for combination in itertools.product(*(axis.values for axis in axes)):
        settings: Cell = {key: value for part in combination for key, value in part.items()}
        bits = settings.pop(BITS, None)
        try:
            made = build_config(_patched(plain, settings))
        except ConfigError as error:  # such as a width that the heads do not divide
            last = error
            reasons |= {id(part): error for part in combination}
            continue
        for part in combination:
            unused.pop(id(part), None)
        if made.data.vocab_size and "data.vocab_size" in settings:
            made = replace(made, model=replace(made.model, vocab_size=made.data.vocab_size))
        found.setdefault(json.dumps([settings, bits]), Candidate(settings=settings, config=made, bits=bits))
    for key, part in unused.items():
        raise ConfigError(f"--vary {' '.join(override_texts(part))}: {reasons[key].message}", hint=reasons[key].hint)
    if not found:
        raise last or ConfigError("--vary leaves no design")
    return sorted(found.values(), key=lambda candidate: candidate.config.model != config.model)


def _patched(plain: dict[str, Any], settings: Cell) -> dict[str, Any]:
    """Return a copy of the plain configuration with other values of dotted keys."""
    copy: dict[str, Any] = json.loads(json.dumps(plain))
    for key, value in settings.items():
        *sections, name = key.split(".")
        inner = copy
        for section in sections:
            inner = inner[section]
        inner[name] = value
    return copy


BITS = "bits"
"""The key of a wanted bit width among the settings of a value of --vary; it becomes quantize.target_bytes."""


@dataclass(frozen=True)
class _Axis:
    values: Callable[[PipelineConfig], Sequence[float]]
    settings: Callable[[ModelConfig, float], Cell]


def _width(model: ModelConfig, value: float) -> Cell:
    """Return the settings of a width: heads keep their size, and about as many of them share a key/value head."""
    heads = max(1, round(value / model.head_dim))
    most = max(1, heads * model.num_kv_heads // model.num_heads)
    return {
        "model.model_dim": int(value),
        "model.num_heads": heads,
        "model.num_kv_heads": next(number for number in range(most, 0, -1) if heads % number == 0),
    }


def _ngrams(model: ModelConfig, share: float) -> Cell:
    """Return the settings of n-gram tables that have so many times the preset's rows."""
    rows = {name: round(share * getattr(model, name)) for name in ("bigram_buckets", "trigram_buckets")}
    return {f"model.{name}": count if count >= 2 else 0 for name, count in rows.items()}


def _numbers(name: str, values: str) -> list[float]:
    try:
        return [float(value) for value in values.split(",")]
    except ValueError:
        raise ConfigError(f"--vary {name}={values}: expected numbers between commas") from None


_SHORT: dict[str, _Axis] = {
    "vocab": _Axis(lambda config: VOCABULARIES, lambda model, value: {"data.vocab_size": int(value)}),
    "layers": _Axis(
        lambda config: sorted({max(2, round(share * config.model.num_layers)) for share in _SHARES}),
        lambda model, value: {"model.num_layers": int(value)},
    ),
    "width": _Axis(lambda config: [share * config.model.model_dim for share in _SHARES], _width),
    "mlp": _Axis(lambda config: (2.0, 3.0, 4.0), lambda model, value: {"model.mlp_ratio": value}),
    "ngram": _Axis(lambda config: (0.0, 1.0, 2.0), _ngrams),
    BITS: _Axis(lambda config: (2.0, 2.5, 3.0, 3.5, 4.0), lambda model, value: {BITS: value}),
}


_KNOWN = (
    *("data.vocab_size", "model.num_layers", "model.model_dim", "model.num_heads", "model.num_kv_heads"),
    *("model.mlp_ratio", "model.bigram_buckets", "model.trigram_buckets", "model.bigram_dim", "model.trigram_dim"),
)


def changed_settings(settings: Cell) -> list[str]:
    """Return the settings whose effect the law does not know, as 'key=value'."""
    return [text for key, text in zip(settings, override_texts(settings), strict=True) if key not in _KNOWN]
